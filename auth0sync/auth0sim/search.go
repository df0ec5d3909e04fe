package auth0sim

import (
	"net/http"
	"slices"
	"strings"
)

const (
	searchable = 1000 // users that one search can reach
	paging     = "You can only page through the first 1000 records. See https://auth0.com/docs/users/search/v3/view-search-results-by-page#limitation."
	timedOut   = "The query exceeded the timeout. Please try refining your search criteria."
)

// serveSearch answers what was true one search lag ago.
// https://auth0.com/docs/manage-users/user-search
func (t *Tenant) serveSearch(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	q, err := parse(values.Get("q"))
	if err != nil {
		badRequest(w, "Query validation error: '"+err.Error()+"' on property q.", "invalid_query_string")
		return
	}
	page, ok := pageOf(w, values)
	switch {
	case !ok:
		return
	case page.start()+page.size > searchable:
		badRequest(w, paging, "invalid_paging")
		return
	case t.o.MaxTerms > 0 && q.terms() > t.o.MaxTerms:
		apiError(w, http.StatusServiceUnavailable, "Service Unavailable", timedOut, "")
		return
	}
	t.mu.Lock()
	users := t.search(q)
	t.mu.Unlock()
	sortUsers(users, values.Get("sort"))
	total := len(users)
	some := []User{}
	for _, u := range users[page.from(total):page.to(total)] {
		some = append(some, *u)
	}
	found := profiles(r, some)
	if values.Get("include_totals") == "true" {
		writeJSON(w, http.StatusOK, map[string]any{"start": page.start(), "limit": page.size, "length": len(found), "users": found, "total": total})
		return
	}
	writeJSON(w, http.StatusOK, found)
}

// search finds users in the index as it was one lag ago; they are not to be
// changed. t.mu is held.
func (t *Tenant) search(q query) []*User {
	at := t.now().Add(-t.o.SearchLag)
	found := []*User{}
	emails, ok := q.emails()
	if !ok {
		for _, r := range t.users {
			if u, live := r.asOf(at); live && q.matches(u) {
				found = append(found, u)
			}
		}
		return found
	}
	slices.Sort(emails)
	for _, email := range slices.Compact(emails) {
		for _, id := range t.everEmail[email] {
			// A user that has had two of the addresses is found by the one it had then.
			if u, live := t.users[id].asOf(at); live && strings.ToLower(u.Email) == email && q.matches(u) {
				found = append(found, u)
			}
		}
	}
	return found
}

// sortUsers obeys sort=field:1 or field:-1; without, the oldest come first.
func sortUsers(users []*User, by string) {
	slices.SortFunc(users, func(a, b *User) int {
		if order := a.CreatedAt.Compare(b.CreatedAt); order != 0 {
			return order
		}
		return strings.Compare(a.ID, b.ID)
	})
	field, direction, _ := strings.Cut(by, ":")
	if field == "" {
		return
	}
	slices.SortStableFunc(users, func(a, b *User) int {
		order := slices.Compare(fieldValues(a, field), fieldValues(b, field))
		if direction == "-1" {
			return -order
		}
		return order
	})
}
