package ops

import (
	"strings"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// message is a page of a heading and a sentence.
type message struct{ Heading, Text string }

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
