package auth0sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Faults are what goes wrong at the tenant. The zero value is nothing.
type Faults struct {
	Requests        []Fault `json:"requests,omitempty"`
	DropActions     bool    `json:"drop_actions,omitempty"`     // Action calls get lost
	DropEvents      bool    `json:"drop_events,omitempty"`      // events that are pushed get lost; the Events API has them
	DuplicateEvents bool    `json:"duplicate_events,omitempty"` // events come twice
	ReorderEvents   bool    `json:"reorder_events,omitempty"`   // each second event overtakes the one before
	DropLogs        bool    `json:"drop_logs,omitempty"`        // log records that are pushed get lost
	FailExports     bool    `json:"fail_exports,omitempty"`     // export jobs fail
	EndlessExports  bool    `json:"endless_exports,omitempty"`  // export jobs stay pending
	TruncateExports int     `json:"truncate_exports,omitempty"` // exports made now end after so many users, as if that were all
}

// Fault is an answer that goes wrong.
type Fault struct {
	Endpoint    string   `json:"endpoint,omitempty"`     // such as "GET /api/v2/users/{id}"; "": the whole Management API
	Times       int      `json:"times,omitempty"`        // how often; 0: until the faults are changed
	Every       int      `json:"every,omitempty"`        // only each so-many-th call
	Probability float64  `json:"probability,omitempty"`  // only so often, above 0 and below 1; the same calls each time
	Status      int      `json:"status,omitempty"`       // answer this instead
	Body        string   `json:"body,omitempty"`         // with this; default Auth0's error body
	ContentType string   `json:"content_type,omitempty"` // default application/json
	Location    string   `json:"location,omitempty"`     // redirect
	RetryAfter  string   `json:"retry_after,omitempty"`  // header
	Delay       Duration `json:"delay,omitempty"`        // before the answer
	CutAfter    int      `json:"cut_after,omitempty"`    // bytes of the true answer, then the connection breaks
	Huge        int      `json:"huge,omitempty"`         // an answer of so many bytes: a list with nothing but spaces in it

	seen, struck int
}

// Duration is a time.Duration that JSON writes like 1m30s.
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q: expected a duration such as 90s", text)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

func newDice() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) } //nolint:gosec // the same each time is wanted

// SetFaults replaces the tenant's faults. It panics on an endpoint that does not
// exist: a test with a fault that never strikes would pass.
func (t *Tenant) SetFaults(f Faults) {
	if err := f.check(); err != nil {
		panic(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults, t.dice = f, newDice()
	t.faults.Requests = slices.Clone(f.Requests)
}

func (f Faults) check() error {
	for _, fault := range f.Requests {
		known := func(r route) bool { return r.pattern == fault.Endpoint }
		if fault.Endpoint != "" && !slices.ContainsFunc(endpoints(), known) {
			return fmt.Errorf("fault: there is no endpoint %q", fault.Endpoint)
		}
	}
	return nil
}

// count counts a request and picks the fault that strikes it, if any.
func (t *Tenant) count(r route) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[r.pattern]++
	for i := range t.faults.Requests {
		f := &t.faults.Requests[i]
		if f.Endpoint == r.pattern || f.Endpoint == "" && r.scope != "" {
			if f.strikes(t.dice) {
				struck := *f
				return &struck
			}
		}
	}
	if t.o.Rude && r.scope != "" {
		t.apiCalls++
		return rudeness(t.apiCalls)
	}
	return nil
}

// strikes decides about one more call of the fault's endpoint.
func (f *Fault) strikes(dice *rand.Rand) bool {
	f.seen++
	switch {
	case f.Every > 1 && f.seen%f.Every != 0, f.Times > 0 && f.struck >= f.Times:
		return false
	case f.Probability > 0 && dice.Float64() >= f.Probability:
		return false
	}
	f.struck++
	return true
}

// dress wraps the writer of a request whose answer is to be cut; done breaks the
// connection then.
func (f *Fault) dress(w http.ResponseWriter) (http.ResponseWriter, func()) {
	if f == nil || f.CutAfter == 0 {
		return w, func() {}
	}
	return &cutter{ResponseWriter: w, left: f.CutAfter}, func() { panic(http.ErrAbortHandler) }
}

// strike gives the wrong answer; false lets the true one follow.
func (t *Tenant) strike(f *Fault, w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
	}
	if f.Delay > 0 && waitReally(r.Context(), time.Duration(f.Delay)) != nil {
		return true
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Location != "":
		http.Redirect(w, r, f.Location, http.StatusFound)
	case f.Status == http.StatusTooManyRequests && f.Body == "":
		t.spent(w)
	case f.Huge > 0:
		f.huge(w)
	case f.Body != "":
		f.verbatim(w)
	case f.Status != 0:
		apiError(w, f.Status, http.StatusText(f.Status), http.StatusText(f.Status), "")
	default:
		return false
	}
	return true
}

func (f *Fault) verbatim(w http.ResponseWriter) {
	w.Header().Set("Content-Type", cmp.Or(f.ContentType, "application/json; charset=utf-8"))
	w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
	_, _ = io.WriteString(w, f.Body) // the client is gone
}

func (f *Fault) huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
	blank := bytes.Repeat([]byte(" "), 1<<16)
	_, err := io.WriteString(w, "[")
	for left := f.Huge - 2; left > 0 && err == nil; left -= len(blank) {
		_, err = w.Write(blank[:min(left, len(blank))])
	}
	_, _ = io.WriteString(w, "]") // the client is gone
}

// cutter passes on so many bytes and swallows the rest.
type cutter struct {
	http.ResponseWriter
	left int
}

// Unwrap is for http.ResponseController.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Write implements io.Writer.
func (c *cutter) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	if _, err := c.ResponseWriter.Write(b[:n]); err != nil {
		return 0, err
	}
	if flusher, ok := c.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return len(b), nil
}
