package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

// decision is a link that was made, and when: a look at Auth0, and then the write.
type decision struct {
	customer, email, user string
	looked, wrote         time.Time
}

// longestLook is how long before its write a look can have been that does not say
// when it was, or not by a clock that is right.
const longestLook = time.Minute

// readDecisions reads all links that were ever made.
func readDecisions(ctx context.Context, tx *sql.Tx) (all []decision, err error) {
	found, err := tx.QueryContext(ctx, `
		select h.customer_id, coalesce(c.email_key, ''), coalesce(h.to_value, ''), h.at, (h.evidence ->> 'seen_at')::timestamptz
		from history h
		join customers c on c.id = h.customer_id
		where h.change = 'linked'`)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	defer func() { _ = found.Close() }() // read to its end
	for found.Next() {
		var d decision
		var looked sql.NullTime
		if err := found.Scan(&d.customer, &d.email, &d.user, &d.wrote, &looked); err != nil {
			return nil, fmt.Errorf("read links: %w", err)
		}
		d.looked = d.wrote.Add(-longestLook)
		if looked.Valid && !looked.Time.After(d.wrote) {
			d.looked = looked.Time
		}
		all = append(all, d)
	}
	return all, found.Err()
}

// truth sees to it that each link is to the user who, at some moment between the look
// and the write, was the only one who had verified that very address, at a provider
// that is trusted, and was not blocked. What became of the user afterwards is another
// matter.
func (f *findings) truth(made []decision, states []auth0sim.State) {
	lives := livesOf(states)
	for _, d := range made {
		if !slices.ContainsFunc(momentsOf(lives[d.email], d), func(at time.Time) bool {
			proven := provenAt(lives[d.email], d.email, at)
			return len(proven) == 1 && proven[0] == d.user
		}) {
			f.wrong = append(f.wrong, fmt.Sprintf("customer %s was linked to %s, who was at no time from %s to %s the only one to have verified its address",
				d.customer, d.user, d.looked.Format(time.RFC3339Nano), d.wrote.Format(time.RFC3339Nano)))
		}
	}
}

// life is one user through time.
type life []auth0sim.State

// livesOf are the lives of users, by each address that they ever had.
func livesOf(states []auth0sim.State) map[string][]life {
	byUser := map[string]life{}
	for _, s := range states {
		byUser[s.User.ID] = append(byUser[s.User.ID], s)
	}
	byAddress := map[string][]life{}
	for _, l := range byUser {
		had := map[string]bool{}
		for _, s := range l {
			if !had[s.User.Email] {
				had[s.User.Email] = true
				byAddress[s.User.Email] = append(byAddress[s.User.Email], l)
			}
		}
	}
	return byAddress
}

// momentsOf are those at which anything changed between look and write, and both.
// The tenant's clock leaves out what is less than a millisecond.
func momentsOf(lives []life, d decision) []time.Time {
	moments := []time.Time{d.looked, d.wrote}
	for _, l := range lives {
		for _, s := range l {
			if s.From.After(d.looked) && !s.From.After(d.wrote) {
				moments = append(moments, s.From)
			}
		}
	}
	return moments
}

// provenAt are the users who could be linked by an address at a moment.
func provenAt(lives []life, email string, at time.Time) (ids []string) {
	for _, l := range lives {
		for _, s := range slices.Backward(l) {
			if s.From.After(at) {
				continue
			}
			provider, _, _ := strings.Cut(s.User.ID, "|")
			if !s.Gone && s.User.Email == email && s.User.EmailVerified && !s.User.Blocked && slices.Contains([]string{"auth0", "email", "google-oauth2", "apple"}, provider) {
				ids = append(ids, s.User.ID)
			}
			break
		}
	}
	return ids
}
