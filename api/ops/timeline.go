package ops

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// person is one customer as the page shows it: no address in full, unless it was
// revealed.
type person struct {
	customer.Explanation
	Address  string
	Revealed bool
	Rights   rights
	Why      customer.Meaning
	Checks   []check
	Proof    *proof
	Timeline []moment // newest first
}

// Closed reports whether nothing can be done any more.
func (p person) Closed() bool { return p.Lifecycle == customer.Inactive }

func customerOf(e customer.Explanation, may rights) person {
	for i := range e.History {
		if c := &e.History[i]; c.Field == "email_address" {
			c.From, c.To = mask(c.From), mask(c.To)
		}
	}
	return person{Explanation: e, Address: mask(e.Email.Address), Rights: may, Why: e.Meaning(), Checks: checks(e), Proof: proofOf(e), Timeline: timeline(e)}
}

// check is a question that the rule asks before it links, and how it came out at the
// last look.
type check struct {
	Asks string
	Came string // "passed", "stops here" or "not reached"
}

// How a check came out.
const (
	passed     = "passed"
	stopsHere  = "stops here"
	notReached = "not reached"
)

// ladder is the rule's questions in their order, and the reasons that each stops at
// (auth0sync.Policy). Of several users that fall short, the nearest counts.
var ladder = []struct { //nolint:gochecknoglobals // a table
	asks  string
	stops []customer.Reason
}{
	{"The customer has an e-mail address that can be matched", []customer.Reason{customer.EmailMissing, customer.EmailUnmatchable}},
	{"Auth0 was asked, and answered", []customer.Reason{customer.Waiting, customer.Auth0Error, customer.Auth0Budget}},
	{"Auth0 has a user with this address", []customer.Reason{customer.NotRegistered, customer.UserGone}},
	{"The user comes from a provider that is trusted", []customer.Reason{customer.ConnectionNotTrusted}},
	{"The address is verified", []customer.Reason{customer.EmailUnverified}},
	{"The user is not blocked", []customer.Reason{customer.UserBlocked}},
	{"No other customer has the user", []customer.Reason{customer.UserTaken}},
	{"The user is not of a customer that was erased", []customer.Reason{customer.UserErased}},
	{"No other user qualifies as well", []customer.Reason{customer.SeveralUsers}},
}

// checks are how far the last look at a customer that waits came; none for others.
func checks(e customer.Explanation) []check {
	at := slices.IndexFunc(ladder, func(step struct {
		asks  string
		stops []customer.Reason
	}) bool {
		return slices.Contains(step.stops, e.Reason)
	})
	if at < 0 {
		return nil
	}
	all := make([]check, len(ladder))
	for i, step := range ladder {
		all[i] = check{step.asks, notReached}
		switch {
		case i < at:
			all[i].Came = passed
		case i == at:
			all[i].Came = stopsHere
		}
	}
	return all
}

// Class is how the outcome looks.
func (c check) Class() string {
	return map[string]string{passed: "fine", stopsHere: "warn", notReached: "none"}[c.Came]
}

// proof is what the link of a customer stands on.
type proof struct {
	At         time.Time
	By         string // who linked it, if no rule did
	AuthUserID string `json:"auth_user_id"`
	Verified   bool   `json:"email_verified"`
	Providers  []string
	NamedBy    string    `json:"named_by"`
	UpdatedAt  time.Time `json:"updated_at"`
	SeenAt     time.Time `json:"seen_at"`
}

// proofOf is that of the last link of a customer that is linked; nil for others.
func proofOf(e customer.Explanation) *proof {
	if e.Lifecycle != customer.Active {
		return nil
	}
	for _, c := range slices.Backward(e.History) {
		if c.What != "linked" && c.What != "rebound" {
			continue
		}
		var p proof
		if c.Evidence == nil || json.Unmarshal(c.Evidence, &p) != nil {
			p = proof{By: fmt.Sprintf("%s %s", c.Cause.Kind, c.Cause.Actor)}
		}
		p.At = c.At
		return &p
	}
	return nil
}

// Named says in words what led from the customer to the user.
func (p proof) Named() string {
	switch p.NamedBy {
	case "app_metadata":
		return "the user's app_metadata names this customer, which only a back end can write"
	case "token":
		return "the person's own access token, signed by Auth0"
	}
	return "the e-mail address"
}

// From is the providers in one text.
func (p proof) From() string { return strings.Join(p.Providers, ", ") }

// moment is a change of the customer, or looks that changed nothing.
type moment struct {
	Change customer.Change // zero: looks
	Look   customer.Look
	at     time.Time
}

// IsLook reports whether it is looks.
func (m moment) IsLook() bool { return m.Look.Count > 0 }

// Run is the run that made the change; 0: none, or not noted.
func (m moment) Run() int64 { return m.Change.Cause.Run }

// timeline is all that happened, newest first, with looks in a row that came to the
// same folded into one.
func timeline(e customer.Explanation) []moment {
	var all []moment
	for _, c := range e.History {
		all = append(all, moment{Change: c, at: c.At})
	}
	for _, l := range e.Looks {
		all = append(all, moment{Look: l, at: l.Last})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return b.at.Compare(a.at) })
	return all
}
