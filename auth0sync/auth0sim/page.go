package auth0sim

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

const (
	largestPage = 100
	defaultPage = 50
)

// page is a part of a list, by page and per_page.
type page struct{ number, size int }

func (p page) start() int         { return p.number * p.size }
func (p page) from(total int) int { return min(p.start(), total) }
func (p page) to(total int) int   { return min(p.start()+p.size, total) }

// pageOf reads page and per_page, or answers 400.
func pageOf(w http.ResponseWriter, values url.Values) (page, bool) {
	number, ok := whole(w, values, "page", 0, 1<<30)
	if !ok {
		return page{}, false
	}
	size, ok := whole(w, values, "per_page", defaultPage, largestPage)
	return page{number, size}, ok
}

// whole reads a number from 0 to most, or answers 400.
func whole(w http.ResponseWriter, values url.Values, name string, preset, most int) (int, bool) {
	text := values.Get(name)
	if text == "" {
		return preset, true
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 0:
		badRequest(w, fmt.Sprintf("Query validation error: 'Expected type integer but found type string' on property %s.", name), "invalid_query_string")
	case n > most:
		badRequest(w, fmt.Sprintf("Query validation error: 'Value %d is greater than maximum %d' on property %s.", n, most, name), "invalid_query_string")
	default:
		return n, true
	}
	return 0, false
}
