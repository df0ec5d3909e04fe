package auth0sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Faults are what goes wrong at the tenant. The zero value is nothing.
type Faults struct {
	Requests        []Fault `json:"requests,omitempty"`
	DropActions     bool    `json:"drop_actions,omitempty"`     // Action calls get lost
	DropEvents      bool    `json:"drop_events,omitempty"`      // events get lost
	DuplicateEvents bool    `json:"duplicate_events,omitempty"` // events come twice
	ReorderEvents   bool    `json:"reorder_events,omitempty"`   // each second event overtakes the one before
}

// Fault is an answer that goes wrong.
type Fault struct {
	Endpoint    string   `json:"endpoint,omitempty"`     // such as "GET /api/v2/users/{id}"; "": the whole Management API
	Times       int      `json:"times,omitempty"`        // how often; 0: until the faults are changed
	Every       int      `json:"every,omitempty"`        // only each so-many-th call
	Status      int      `json:"status,omitempty"`       // answer this instead
	Body        string   `json:"body,omitempty"`         // with this; default Auth0's error body
	ContentType string   `json:"content_type,omitempty"` // default application/json
	Location    string   `json:"location,omitempty"`     // redirect
	RetryAfter  string   `json:"retry_after,omitempty"`  // header
	Delay       Duration `json:"delay,omitempty"`        // before the answer
	CutAfter    int      `json:"cut_after,omitempty"`    // bytes of the true answer, then the connection breaks

	seen int
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

// SetFaults replaces the tenant's faults.
func (t *Tenant) SetFaults(f Faults) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = f
	t.faults.Requests = append([]Fault(nil), f.Requests...)
}

// count counts a request and picks the fault that strikes it, if any.
func (t *Tenant) count(r route) *Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[r.pattern]++
	for i := range t.faults.Requests {
		f := &t.faults.Requests[i]
		if f.Endpoint != r.pattern && (f.Endpoint != "" || r.scope == "") {
			continue
		}
		f.seen++
		if f.Every > 1 && f.seen%f.Every != 0 || f.Times > 0 && f.seen > f.Times {
			continue
		}
		struck := *f
		return &struck
	}
	if t.o.Rude && r.scope != "" {
		t.apiCalls++
		if t.apiCalls%11 == 0 {
			return &Fault{Status: []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}[t.apiCalls/11%3]}
		}
	}
	return nil
}

// dress wraps the writer of a request whose answer is to be cut; done breaks the
// connection then.
func (f *Fault) dress(w http.ResponseWriter) (http.ResponseWriter, func()) {
	if f == nil || f.CutAfter == 0 {
		return w, func() {}
	}
	return &cutter{ResponseWriter: w, left: f.CutAfter}, func() { panic(http.ErrAbortHandler) }
}

// answer gives the wrong answer; false lets the true one follow.
func (f *Fault) answer(w http.ResponseWriter, r *http.Request) bool {
	if f == nil {
		return false
	}
	if f.Delay > 0 {
		select {
		case <-r.Context().Done():
			return true
		case <-time.After(time.Duration(f.Delay)):
		}
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch {
	case f.Location != "":
		http.Redirect(w, r, f.Location, http.StatusFound)
	case f.Status == http.StatusTooManyRequests && f.Body == "":
		tooMany(w, global)
	case f.Status != 0 && f.Body == "":
		apiError(w, f.Status, http.StatusText(f.Status), http.StatusText(f.Status), "")
	case f.Status != 0 || f.Body != "":
		contentType := f.ContentType
		if contentType == "" {
			contentType = "application/json; charset=utf-8"
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(max(f.Status, http.StatusOK))
		_, _ = w.Write([]byte(f.Body)) // the client is gone
	default:
		return false
	}
	return true
}

// cutter passes on so many bytes and swallows the rest.
type cutter struct {
	http.ResponseWriter
	left int
}

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
