package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Listed is a customer in a list.
type Listed struct {
	ID           string `json:"customer_id"`
	EmailAddress string `json:"email_address"`
}

// Filter says which customers are listed; the zero Filter: all, closed ones too.
type Filter struct {
	Lifecycle    Lifecycle
	UpdatedSince time.Time
	// PageSize, up to 1000, has the list come in pages, each of which is tried again if
	// need be; then customers made meanwhile are listed too. 0: as one answer, which
	// shows one moment, and is the fastest.
	PageSize int
}

func (f Filter) request() *request {
	r := newRequest(http.MethodGet, "customers", "customers")
	if f.Lifecycle != "" {
		r.query.Set("customer_lifecycle", string(f.Lifecycle))
	}
	if !f.UpdatedSince.IsZero() {
		r.query.Set("updated_since", f.UpdatedSince.Format(time.RFC3339Nano))
	}
	r.paged(f.PageSize)
	return r
}

func (r *request) paged(size int) {
	if size > 0 {
		r.query.Set("limit", strconv.Itoa(size))
	}
}

// Customers lists customers in the order of their making, without ever holding more
// than one, or one page. An error comes last: what came before is right, but not
// all. It needs read:customers.
func (c *Client) Customers(ctx context.Context, f Filter, options ...Option) iter.Seq2[Listed, error] {
	r := f.request().with(options)
	if f.PageSize > 0 {
		return inPages[Listed](ctx, c, r)
	}
	return func(yield func(Listed, error) bool) {
		err := c.send(ctx, r, func(res *http.Response) error {
			defer func() { _ = res.Body.Close() }() // told by the reading
			if err := eachOf(res.Body, func(one Listed) bool { return yield(one, nil) }); err != nil {
				return final{fmt.Errorf("the list broke off: %w", err)}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(Listed{}, err)
		}
	}
}

// errEnough ends a list that nobody reads on.
var errEnough = errors.New("enough")

// eachOf reads {"success":true,"data":[…]} one by one. A body that ends before that is
// io.ErrUnexpectedEOF: the API breaks a list off so.
func eachOf[T any](body io.Reader, do func(T) bool) error {
	d := json.NewDecoder(body)
	for {
		token, err := d.Token()
		if err != nil {
			return cutOff(err)
		}
		if token == "data" {
			break
		}
	}
	if _, err := d.Token(); err != nil { // [
		return cutOff(err)
	}
	for d.More() {
		var one T
		if err := d.Decode(&one); err != nil {
			return cutOff(err)
		}
		if !do(one) {
			return errEnough
		}
	}
	for range 2 { // ] and }
		if _, err := d.Token(); err != nil {
			return cutOff(err)
		}
	}
	_, err := io.Copy(io.Discard, body) // so that the connection can be used again
	return err
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inPages lists by the next page that each answer's Link names.
func inPages[T any](ctx context.Context, c *Client, r *request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		page := *r
		for {
			var answer struct {
				Data []T `json:"data"`
			}
			header, err := c.do(ctx, &page, &answer)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, one := range answer.Data {
				if !yield(one, nil) {
					return
				}
			}
			cursor := nextIn(header)
			if cursor == "" {
				return
			}
			page.query = url.Values{"cursor": {cursor}}
			for name, values := range r.query {
				page.query[name] = values
			}
		}
	}
}

// nextIn is the cursor of the next page that Link names; "" if there is none. The
// rest of that URL is known: nobody is sent elsewhere by it.
func nextIn(h http.Header) string {
	for _, link := range h.Values("Link") {
		target, relation, _ := strings.Cut(link, ">")
		if !strings.Contains(relation, `rel="next"`) {
			continue
		}
		if u, err := url.Parse(strings.TrimPrefix(target, "<")); err == nil {
			return u.Query().Get("cursor")
		}
	}
	return ""
}

// Conflicts lists the customers that wait for a person, in pages of so many, up to
// 1000; 0: as many as the API thinks fit. It needs read:customers.
func (c *Client) Conflicts(ctx context.Context, pageSize int, options ...Option) iter.Seq2[Conflict, error] {
	r := newRequest(http.MethodGet, "conflicts", "conflicts").with(options)
	r.paged(pageSize)
	return inPages[Conflict](ctx, c, r)
}

// EventPage is a part of the feed.
type EventPage struct {
	Events []Event `json:"data"`
	After  string  `json:"after"` // where to go on; keep it once the Events are dealt with
	More   bool    `json:"more"`  // there may be more already
}

// Events reads the feed behind a place, "" being its start, page by page up to where it
// ends by now; a page has up to 1000 events, 0 being what the API thinks fit. The last page
// may be empty. Called again with the After of the page dealt with last, it goes on from there.
// ErrFeedAhead: the database was set back, and the feed is to be read anew. It needs
// read:customers.
func (c *Client) Events(ctx context.Context, after string, pageSize int, options ...Option) iter.Seq2[EventPage, error] {
	return func(yield func(EventPage, error) bool) {
		for {
			r := newRequest(http.MethodGet, "events", "events").with(options)
			r.paged(pageSize)
			if after != "" {
				r.query.Set("after", after)
			}
			var page EventPage
			if _, err := c.do(ctx, r, &page); err != nil {
				yield(EventPage{}, err)
				return
			}
			if !yield(page, nil) || !page.More {
				return
			}
			after = page.After
		}
	}
}
