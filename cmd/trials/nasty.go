package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

// Calls of Auth0 that the program makes.
const (
	callToken  = "token"
	callKeys   = "keys"
	callEmail  = "users-by-email"
	callSearch = "search"
	callUser   = "user"
	callEvents = "events"
	callLogs   = "logs"
	callExport = "export"
	callJob    = "job"
	callFile   = "file"
)

// callOf is which of them a request is; "" is another.
func callOf(r *http.Request) string {
	is := func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }
	switch {
	case is("/oauth/token"):
		return callToken
	case is("/.well-known/jwks.json"):
		return callKeys
	case is("/api/v2/users-by-email"):
		return callEmail
	case is("/api/v2/users/"):
		return callUser
	case is("/api/v2/users"):
		return callSearch
	case is("/api/v2/events"):
		return callEvents
	case is("/api/v2/logs"):
		return callLogs
	case is("/api/v2/jobs/users-exports"):
		return callExport
	case is("/api/v2/jobs/"):
		return callJob
	case is("/users-exports/"):
		return callFile
	}
	return ""
}

// nasty stands before the tenant. The calls that are under attack are answered by
// one nastiness after the other, each call by all of them in its turn.
type nasty struct {
	tenant  *auth0sim.Tenant
	address string
	servers []*http.Server
	trap    string // where redirects lead

	mu     sync.Mutex
	under  map[string]bool    // attack
	healed context.Context    //nolint:containedctx // the end of this attack, which no call began
	heal   context.CancelFunc //
	from   int
	turn   map[string]int            // of the next nastiness, by call
	struck map[string]map[string]int // how often, by call and nastiness
	pages  int                       // of one search
	wrong  []string
}

// newNasty has the program that is started after it find the tenant behind it. Each
// call meets this nastiness first.
func newNasty(ctx context.Context, w *world, from int) (*nasty, error) {
	n := &nasty{tenant: w.tenant, from: from, turn: map[string]int{}, struck: map[string]map[string]int{}}
	n.healed, n.heal = context.WithCancel(ctx)
	n.heal()
	var err error
	if n.trap, err = n.serve(ctx, http.HandlerFunc(n.trapped)); err != nil {
		return nil, err
	}
	if n.address, err = n.serve(ctx, n); err != nil {
		n.close()
		return nil, err
	}
	w.sim = "http://" + n.address
	w.tenant.SetBaseURL(w.sim)
	w.mintToken()
	return n, nil
}

func (n *nasty) serve(ctx context.Context, h http.Handler) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	n.servers = append(n.servers, server)
	go func() { _ = server.Serve(listener) }() // until close
	return listener.Addr().String(), nil
}

func (n *nasty) close() {
	n.heal()
	for _, s := range n.servers {
		_ = s.Close() // nobody is served any more
	}
}

// trapped is where nobody must come to.
func (n *nasty) trapped(_ http.ResponseWriter, r *http.Request) {
	n.complain(fmt.Sprintf("a redirect was followed: %s %s, with authorization %v", r.Method, r.URL.Path, r.Header.Get("Authorization") != ""))
}

func (n *nasty) complain(of string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrong = append(n.wrong, of)
}

// complaints is what the program did since they were last taken that it must not do.
func (n *nasty) complaints() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	wrong := n.wrong
	n.wrong = nil
	return wrong
}

// attack begins with some calls, and ends with all others.
func (n *nasty) attack(ctx context.Context, calls ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heal() // who is being kept waiting is let go
	n.under = map[string]bool{}
	if len(calls) == 0 {
		return
	}
	n.healed, n.heal = context.WithCancel(ctx)
	for _, call := range calls {
		n.under[call] = true
	}
}

// strikes is how often each call was struck.
func (n *nasty) strikes() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]int{}
	for call, by := range n.struck {
		for _, times := range by {
			all[call] += times
		}
	}
	return all
}

// spared are the pairs of a call and a nastiness that never met.
func (n *nasty) spared() (met int, spared []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, call := range slices.Sorted(maps.Keys(n.struck)) {
		for _, one := range nastinesses() {
			switch {
			case !one.fits(call):
			case n.struck[call][one.name] > 0:
				met++
			default:
				spared = append(spared, call+": "+one.name)
			}
		}
	}
	return met, spared
}

// ServeHTTP implements http.Handler.
func (n *nasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := callOf(r)
	one, healed := n.pick(call, r.URL.Query())
	if one == nil {
		n.tenant.ServeHTTP(w, r)
		return
	}
	one.answer(&exchange{w: w, r: r, nasty: n, call: call, healed: healed})
}

// longestSearch is more pages than a search can have, a hundred users each.
const longestSearch = 20

// whisper is what calls for users are answered by while others are under attack: the
// truth, but that nobody is plainly unverified. So each who must not be linked is
// shown like that.
func (n *nasty) whisper(call string) *nastiness {
	if len(n.under) == 0 || call != callEmail && call != callSearch && call != callUser {
		return nil
	}
	all := nastinesses()
	return &all[slices.IndexFunc(all, func(one nastiness) bool { return one.name == inWords })]
}

// pick takes the next nastiness of a call; nil if it is to be answered well. A search
// that was led on by a page is led on for ever.
func (n *nasty) pick(call string, query url.Values) (*nastiness, context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	page, _ := strconv.Atoi(query.Get("page"))
	if call == callSearch && page > longestSearch && n.pages == page-1 {
		n.wrong = append(n.wrong, fmt.Sprintf("a search asks for page %d", page))
	}
	if call == callSearch {
		n.pages = page
	}
	if !n.under[call] {
		return n.whisper(call), n.healed
	}
	all := slices.DeleteFunc(nastinesses(), func(one nastiness) bool { return !one.fits(call) })
	at := n.from + n.turn[call]
	if page > 0 {
		at = slices.IndexFunc(all, func(one nastiness) bool { return one.name == endless })
	} else {
		n.turn[call]++
	}
	one := all[at%len(all)]
	if n.struck[call] == nil {
		n.struck[call] = map[string]int{}
	}
	n.struck[call][one.name]++
	return &one, n.healed
}
