package auth0sync

import (
	"cmp"
	"slices"

	"github.com/ahiko-io/customersync/customer"
)

// between adds to a conflict the users that it is between: the linkable ones that
// nothing tells apart, or those that are taken.
func (v Verdict) between(linkable, taken []User, w customer.World) Verdict {
	switch v.Reason {
	case customer.SeveralUsers:
		v.Rivals = candidates(linkable, w)
	case customer.UserTaken:
		v.Rivals = candidates(taken, w)
	default:
	}
	return v
}

// candidates shows users to a person, in the order of their ids.
func candidates(users []User, w customer.World) []customer.Candidate {
	shown := make([]customer.Candidate, 0, len(users))
	for _, u := range users {
		c := customer.Candidate{
			AuthUserID:    u.ID,
			EmailVerified: u.EmailVerified,
			CreatedAt:     u.CreatedAt,
			Holder:        w.UserHolder[u.ID],
		}
		if c.Holder == "" && w.Live[u.CustomerID] {
			c.Holder = u.CustomerID
		}
		for _, i := range u.Identities {
			if !slices.Contains(c.Connections, i.Connection) {
				c.Connections = append(c.Connections, i.Connection)
			}
		}
		shown = append(shown, c)
	}
	slices.SortFunc(shown, func(a, b customer.Candidate) int { return cmp.Compare(a.AuthUserID, b.AuthUserID) })
	return shown
}
