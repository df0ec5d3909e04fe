package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

const (
	largestPage = 1000
	flushAt     = 64 << 10 // bytes of the listing that are gathered before they are sent
	// readWithin is how long a client may take to read what was sent: one that
	// stalls must not hold its connection to the database for ever.
	readWithin = 30 * time.Second
)

// list streams customers: all of them, or a page (R6).
func (s *Server) list(c *call) error {
	if !c.principal.may(readCustomers) {
		return fail(codeForbidden)
	}
	values, err := c.query("limit", "cursor", "customer_lifecycle", "updated_since")
	if err != nil {
		return err
	}
	filter, err := filterOf(values)
	if err != nil {
		return err
	}
	page := filter.Limit
	if page > 0 {
		filter.Limit++ // one more, to know whether there is a next page
	}
	out := &listing{call: c, control: http.NewResponseController(c.w), values: values}
	for listed, err := range s.customers.All(c.r.Context(), filter) {
		if err == nil && page > 0 && out.rows == page {
			out.more = true
			break
		}
		if err == nil {
			err = out.add(listed, page)
		}
		if err != nil && !out.started {
			return err
		}
		if err != nil {
			s.log.Warn("listing broken off", zap.String("request_id", c.requestID), zap.Int("rows", out.rows), zap.Error(err))
			panic(http.ErrAbortHandler) // the only way to tell a client that this is not the end
		}
	}
	return out.end()
}

// filterOf reads what a listing is asked for.
func filterOf(values url.Values) (f customer.Filter, err error) {
	if values.Has("customer_lifecycle") {
		if f.Lifecycle, err = customer.ParseLifecycle(values.Get("customer_lifecycle")); err != nil {
			return f, fail("invalid_query").about("customer_lifecycle").saying(err.Error() + ".")
		}
	}
	if values.Has("updated_since") {
		if f.UpdatedSince, err = time.Parse(time.RFC3339, values.Get("updated_since")); err != nil || f.UpdatedSince.Year() < 1 {
			return f, fail("invalid_query").about("updated_since").saying("updated_since must be a time by RFC 3339; encode + as %2B.")
		}
	}
	if values.Has("limit") {
		if f.Limit, err = strconv.Atoi(values.Get("limit")); err != nil || f.Limit < 1 || f.Limit > largestPage {
			return f, fail("invalid_query").about("limit").saying("limit must be a number from 1 to 1000.")
		}
	}
	if values.Has("cursor") {
		if f.Limit == 0 {
			return f, fail("invalid_query").about("cursor").saying("cursor goes with limit.")
		}
		if f.After, err = parseCursor(values.Get("cursor")); err != nil {
			return f, fail("invalid_query").about("cursor").saying("cursor must be one that Link gave.")
		}
	}
	return f, nil
}

// cursor stands for the last customer of a page.
func cursor(id customer.ID) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

func parseCursor(s string) (customer.ID, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return "", err
	}
	return customer.ParseID(string(raw))
}

// listing is the answer in the making. Its header waits for the first row, so
// that a query that fails at once is answered as an error; a page is kept back
// whole, since its Link header comes first.
type listing struct {
	*call
	control *http.ResponseController
	values  url.Values
	buffer  []byte
	rows    int
	last    customer.ID
	more    bool
	started bool
}

func (l *listing) add(c customer.Listed, page int) error {
	if l.rows == 0 {
		l.buffer = append(l.buffer, `{"success":true,"data":[`...)
	} else {
		l.buffer = append(l.buffer, ',')
	}
	l.rows++
	l.last = c.ID
	l.buffer = append(l.buffer, `{"customer_id":"`...)
	l.buffer = append(l.buffer, c.ID...)
	l.buffer = append(l.buffer, `","email_address":`...)
	l.buffer = appendText(l.buffer, c.Address)
	l.buffer = append(l.buffer, '}')
	if page > 0 || l.started && len(l.buffer) < flushAt {
		return nil
	}
	return l.flush()
}

// appendText appends a JSON string, or null for the empty one.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, "null"...) // a string always marshals
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func (l *listing) flush() error {
	if !l.started {
		l.started = true
		h := l.w.Header()
		jsonHeader(h)
		if l.more {
			h.Set("Link", "<"+l.next()+`>; rel="next"`)
		}
		l.w.WriteHeader(http.StatusOK)
	}
	if err := l.control.SetWriteDeadline(time.Now().Add(readWithin)); err != nil {
		return err
	}
	// The deadline for reading the request goes on while it is answered, and ends
	// the request's context (net/http, connReader.backgroundRead).
	if err := l.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := l.w.Write(l.buffer); err != nil {
		return err
	}
	l.buffer = l.buffer[:0]
	return l.control.Flush()
}

func (l *listing) next() string {
	values := url.Values{}
	for name, all := range l.values {
		values[name] = all
	}
	values.Set("cursor", cursor(l.last))
	return basePath + "/customers?" + values.Encode()
}

func (l *listing) end() error {
	if l.rows == 0 {
		l.buffer = append(l.buffer, `{"success":true,"data":[`...)
	}
	l.buffer = append(l.buffer, "]}\n"...)
	if err := l.flush(); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	return l.control.SetWriteDeadline(time.Time{}) // the connection may serve other requests
}
