package auth0sim

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// LogFormat is how a log stream writes a batch.
type LogFormat string

// The formats: one array, a line for each record, or a request for each.
const (
	JSONArray  LogFormat = "JSONARRAY"
	JSONLines  LogFormat = "JSONLINES"
	JSONObject LogFormat = "JSONOBJECT"
)

func (f LogFormat) known() error {
	formats := []LogFormat{JSONArray, JSONLines, JSONObject}
	if !slices.Contains(formats, f) {
		return fmt.Errorf("format %q: expected one of %q", f, formats)
	}
	return nil
}

// logStream pushes the log to a webhook.
type logStream struct {
	id      string
	asked   map[string]any // as it was asked for
	to      endpoint       // the secret is the whole Authorization header
	format  LogFormat
	masks   bool
	kinds   func(kind string) bool
	status  string // active or paused
	pending []logEntry
	sending bool
	failing time.Time // since then; zero: it is not
	again   time.Time // not before then
	timer   *time.Timer
}

const (
	logBatch = 100
	// logRests is how long a stream rests after three attempts have failed. Auth0
	// only says that it goes on.
	logRests = time.Minute
	// logGivesUp is when a stream that fails is paused.
	logGivesUp = 7 * 24 * time.Hour
)

// ConnectLogStream has the tenant's log pushed to url from now on: batches in a
// format, with a value of the Authorization header, as it is. Batches are repeated
// until they are taken. With mask the records do not tell who people are but by
// user id. It panics on an unknown format.
// https://auth0.com/docs/customize/log-streams/custom-log-streams
func (t *Tenant) ConnectLogStream(url, authorization string, format LogFormat, mask bool) {
	if err := format.known(); err != nil {
		panic(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLogStream(&logStream{to: endpoint{url, authorization}, format: format, masks: mask, kinds: func(string) bool { return true }})
}

func (t *Tenant) addLogStream(s *logStream) {
	s.id, s.status = fmt.Sprintf("lst_%016d", t.tenantLog.made+1), "active"
	t.tenantLog.made++
	t.tenantLog.streams = append(t.tenantLog.streams, s)
}

// take queues an entry, though it may be dropped on purpose. t.mu is held.
func (s *logStream) take(t *Tenant, e logEntry) {
	if e.silent || t.faults.DropLogs || !s.kinds(e.kind) {
		return
	}
	s.pending = append(s.pending, e)
	t.pushLogs(s)
}

// pushLogs starts to send what is queued, unless that is under way or has to wait.
// t.mu is held.
func (t *Tenant) pushLogs(s *logStream) {
	if s.sending || t.closed || s.status != "active" || len(s.pending) == 0 || t.now().Before(s.again) {
		return
	}
	s.sending = true
	t.inFlight++
	go t.sendLogs(s)
}

// pushAllLogs is for when the clock has moved. t.mu is held.
func (t *Tenant) pushAllLogs() {
	for _, s := range t.tenantLog.streams {
		t.pushLogs(s)
	}
}

func (t *Tenant) sendLogs(s *logStream) {
	for t.sendBatch(s) {
	}
}

// sendBatch delivers one batch; false when there is nothing more to do now.
func (t *Tenant) sendBatch(s *logStream) bool {
	t.mu.Lock()
	batch := slices.Clone(s.pending[:min(len(s.pending), s.batch())])
	if len(batch) == 0 {
		t.rest(s)
		t.mu.Unlock()
		return false
	}
	t.mu.Unlock()
	times := 1
	if t.o.Rude { // at least once, and in no order
		slices.Reverse(batch)
		times = 2
	}
	taken := true
	for range times {
		taken = t.batchTaken(s, s.write(t, batch)) && taken
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if taken {
		s.pending, s.failing = s.pending[len(batch):], time.Time{}
		return true
	}
	t.postpone(s)
	return false
}

func (s *logStream) batch() int {
	if s.format == JSONObject {
		return 1
	}
	return logBatch
}

// rest ends the sending. t.mu is held.
func (t *Tenant) rest(s *logStream) {
	s.sending = false
	t.inFlight--
	t.idle.Broadcast()
}

// postpone has what was not taken sent later, or pauses the stream. t.mu is held.
func (t *Tenant) postpone(s *logStream) {
	now := t.now()
	if s.failing.IsZero() {
		s.failing = now
	}
	if now.Sub(s.failing) >= logGivesUp {
		s.status = "paused"
	}
	s.again = now.Add(logRests)
	t.rest(s)
	if !t.closed {
		s.timer = time.AfterFunc(logRests, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.pushLogs(s)
		})
	}
}

// batchTaken delivers a batch, in three attempts.
func (t *Tenant) batchTaken(s *logStream, body []byte) bool {
	taken := false
	t.deliver(delivery{
		to: s.to, id: s.id, body: body, sign: literally, within: 10 * time.Second, attempts: []time.Duration{0, time.Second, 2 * time.Second},
		final: func(status int) bool { return status >= 200 && status < 300 },
		note:  func(a attempt) { taken = a.failure == "" },
	})
	return taken
}

func literally(req *http.Request, d delivery, _ time.Time) error {
	if d.to.secret != "" {
		req.Header.Set("Authorization", d.to.secret)
	}
	return nil
}

// write is a batch in the stream's format.
func (s *logStream) write(t *Tenant, batch []logEntry) []byte {
	records := make([]map[string]any, len(batch))
	lines := make([][]byte, len(batch))
	for i, e := range batch {
		data := any(e.json(t))
		if s.masks {
			data = mask(data)
		}
		records[i] = map[string]any{"log_id": e.id, "data": data}
		lines[i] = encode(records[i])
	}
	if s.format == JSONArray {
		return encode(records)
	}
	return append(bytes.Join(lines, []byte("\n")), '\n')
}
