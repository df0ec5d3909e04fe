package auth0sim

import (
	"cmp"
	"net/http"
	"time"
)

// Rude returns the options of the same tenant made nasty: Options.Rude, and a
// search that lags two seconds behind unless another lag is set.
func Rude(o Options) Options {
	o.Rude = true
	o.SearchLag = cmp.Or(o.SearchLag, 2*time.Second)
	return o
}

const (
	failEach = 11 // Management API calls
	slowEach = 17 // Management API calls
	slow     = 50 * time.Millisecond
)

// rudeness is the fault that strikes the nth call of the Management API.
func rudeness(n int) *Fault {
	switch {
	case n%failEach == 0:
		return &Fault{Status: []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}[n/failEach%3]}
	case n%slowEach == 0:
		return &Fault{Delay: Duration(slow)}
	}
	return nil
}

// neighbours are users as real tenants have them, to trip over: without an
// address, with free text for an id, blocked, and two with one address.
func (t *Tenant) neighbours() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range []SignUp{
		{Username: "nomail", UserID: "auth0|neighbour-1"},
		{Connection: SMS, UserID: "sms|neighbour-2"},
		{Connection: Enterprise, Email: "Eva.Muster@Acme.example", UserID: "samlp|acme-saml|Eva Muster"},
		{Connection: Google, Email: "blocked@neighbours.example", UserID: "google-oauth2|100000000000000000003"},
		{Connection: Google, Email: "twice@neighbours.example", UserID: "google-oauth2|100000000000000000004"},
		{Email: "twice@neighbours.example", UserID: "auth0|neighbour-5"},
	} {
		s.Blocked = s.Email == "blocked@neighbours.example"
		if _, err := t.signUp(s); err != nil {
			panic(err) // the ids above are distinct
		}
	}
}
