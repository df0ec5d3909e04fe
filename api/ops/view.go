package ops

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// message is a page of a heading and a sentence.
type message struct{ Heading, Text string }

// home is how the whole stands.
type home struct {
	snapshot
	Lifecycles []count
	Reasons    []count // that anybody waits for, in the order of the documentation
}

// count is a number of customers. Meaning is zero for a lifecycle.
type count struct {
	Name    string
	Count   int
	Meaning customer.Meaning
}

func homeOf(s snapshot) home {
	h := home{snapshot: s}
	for _, l := range customer.Lifecycles() {
		h.Lifecycles = append(h.Lifecycles, count{Name: string(l), Count: s.Customers[l]})
	}
	for _, r := range customer.Reasons() {
		if n := s.Pending[r]; n > 0 {
			h.Reasons = append(h.Reasons, count{string(r), n, r.Meaning()})
		}
	}
	return h
}

// AgeText says how old the numbers are.
func (h home) AgeText() string { return h.Age.Round(time.Second).String() }

// person is one customer as the page shows it: no address in full, unless it was
// revealed.
type person struct {
	customer.Explanation
	Address  string
	Revealed bool
	Why      customer.Meaning
}

// Closed reports whether nothing can be done any more.
func (p person) Closed() bool { return p.Lifecycle == customer.Inactive }

// previewed is an action before it is confirmed.
type previewed struct {
	person
	action
	Steps []step
	Note  string
}

// conflicts are customers that wait for a person.
type conflicts struct {
	People []conflict
	Next   customer.ID // where the next page begins; "": this is the last
}

type conflict struct {
	customer.Conflict
	Address string
}

func conflictsOf(found []customer.Conflict) conflicts {
	var c conflicts
	for _, f := range found {
		c.People = append(c.People, conflict{f, mask(f.Email.Address)})
	}
	if len(found) == conflictsShown {
		c.Next = found[len(found)-1].ID
	}
	return c
}

func customerOf(e customer.Explanation) person {
	for i := range e.History {
		if c := &e.History[i]; c.Field == "email_address" {
			c.From, c.To = mask(c.From), mask(c.To)
		}
	}
	slices.Reverse(e.History) // newest first
	return person{Explanation: e, Address: mask(e.Email.Address), Why: e.Meaning()}
}

// mask shows of an address its first character and its domain.
func mask(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok {
		if address == "" {
			return ""
		}
		return "***"
	}
	_, size := utf8.DecodeRuneInString(local)
	return local[:size] + "***@" + domain
}
