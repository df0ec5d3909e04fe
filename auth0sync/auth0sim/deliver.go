package auth0sim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// endpoint is where deliveries go.
type endpoint struct {
	url    string
	secret string
}

// delivery is one message on its way.
type delivery struct {
	to       endpoint
	id       string
	body     []byte
	sign     func(*http.Request, delivery, time.Time) error
	attempts []time.Duration // the wait before each attempt
	within   time.Duration   // each attempt
	final    func(status int) bool
	wanted   func() bool   // still; nil: always
	note     func(attempt) // is told of each
	over     func()        // is told of the end
	hold     *hold         // waits to be overtaken
	frees    *hold         // lets that one go once this has been tried
}

// hold keeps a delivery back until the next one has overtaken it.
type hold struct {
	until context.Context //nolint:containedctx // it ends the holding, no call
	free  context.CancelFunc
}

// longestHold is for when no other delivery comes.
const longestHold = 2500 * time.Millisecond

func encode(body any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(err) // plain values
	}
	return bytes.TrimSpace(b.Bytes())
}

// send delivers in the background, each on its own: nothing is in order.
func (t *Tenant) send(out []delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sendNow(out)
}

// sendNow is send while t.mu is held.
func (t *Tenant) sendNow(out []delivery) {
	if t.closed {
		return
	}
	t.inFlight += len(out)
	for _, d := range out {
		go func() {
			t.deliver(d)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.inFlight--
			t.idle.Broadcast()
		}()
	}
}

// Settle lets go what is held back to come out of order, and waits until every
// delivery has arrived or was given up.
func (t *Tenant) Settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streams {
		if s.held != nil {
			s.held.free()
			s.held = nil
		}
	}
	t.letIn()
	t.enterHeld()
	t.rouse()
	t.awaitIdle()
}

// awaitIdle waits for the deliveries in flight. t.mu is held.
func (t *Tenant) awaitIdle() {
	for t.inFlight > 0 {
		t.idle.Wait()
	}
}

// deliver attempts until it is final.
func (t *Tenant) deliver(d delivery) {
	if d.hold != nil {
		_ = t.o.Wait(d.hold.until, longestHold) // let go early or not, it goes now
		d.hold.free()
	}
	for n, wait := range d.attempts {
		if wait > 0 && t.o.Wait(t.running, wait) != nil || t.running.Err() != nil || d.wanted != nil && !d.wanted() {
			break
		}
		began := time.Now()
		t.mu.Lock()
		at := t.now()
		t.mu.Unlock()
		status, err := t.post(d)
		d.tell(at, began, status, err)
		if d.frees != nil {
			d.frees.free()
		}
		if err == nil && d.final(status) {
			break
		}
		t.o.Logger.Debug("delivery attempt failed", zap.String("id", d.id), zap.Int("attempt", n+1), zap.Int("status", status), zap.Error(err))
	}
	if d.frees != nil {
		d.frees.free()
	}
	if d.over != nil {
		d.over()
	}
}

// tell tells of an attempt whoever wants to know.
func (d delivery) tell(at, began time.Time, status int, err error) {
	if d.note == nil {
		return
	}
	a := attempt{at: at, took: time.Since(began)}
	switch {
	case err != nil:
		a.failure = err.Error()
	case status < 200 || status >= 300:
		a.failure = "webhook answered with status " + strconv.Itoa(status)
	}
	d.note(a)
}

func (t *Tenant) post(d delivery) (int, error) {
	ctx, cancel := context.WithTimeout(t.running, d.within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.to.url, bytes.NewReader(d.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	t.mu.Lock()
	at := t.now()
	t.mu.Unlock()
	if err := d.sign(req, d, at); err != nil {
		return 0, err
	}
	res, err := t.o.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()                     // nothing more is read
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection is used again
	return res.StatusCode, nil
}
