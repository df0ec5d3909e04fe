package api

import (
	"context"
	"net/http"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// syncWithin is how long a sync waits for the look it asked for.
const syncWithin = 10 * time.Second

// syncBody is what a look came to (R18).
type syncBody struct {
	ID        customer.ID        `json:"customer_id"`
	Looked    bool               `json:"looked"`  // Auth0 answered since the request came
	Changed   bool               `json:"changed"` // and the customer or its reason is another for it
	Lifecycle customer.Lifecycle `json:"customer_lifecycle"`
	Reason    *string            `json:"reason"`
	Sentence  string             `json:"sentence"`
	Who       string             `json:"who_acts"`
	Then      string             `json:"then"`
	AskedAt   *string            `json:"auth0_asked_at"`
	Next      *string            `json:"next_look_at"`
}

// sync has Auth0 asked about a customer now, by the worker's one road, and answers
// with what came of it, or with what is known when it took too long. Requests at
// the same time share one look-up, and within ten seconds there is no second.
func (s *Server) sync(c *call) error {
	found, err := s.target(c, updateCustomers)
	if err != nil {
		return err
	}
	before, after, err := s.look(c, found.ID)
	if c.hungUp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct {
		Success bool     `json:"success"`
		Data    syncBody `json:"data"`
	}{true, syncOf(before, after)})
	return nil
}

// look asks for a look and waits until it was made, by whatever replica. before is
// the customer as it was, after as it is at the end of the wait.
func (s *Server) look(c *call, id customer.ID) (before, after customer.Explanation, err error) {
	told, stop := s.customers.Watch(id)
	defer stop()
	if before, err = s.customers.Explain(c.r.Context(), id); err != nil {
		return before, after, err
	}
	if err = s.lookNow(c.r.Context(), id); err != nil {
		return before, after, err
	}
	wait := s.hold(c, syncWithin)
	defer wait.end()
	for over := false; ; over = wait.over(told) {
		if after, err = s.customers.Explain(c.r.Context(), id); err != nil || over || !after.Looking {
			return before, after, err
		}
	}
}

// lookNow makes a customer due, and has this process's worker see to it, since
// there may be no LISTEN to tell it.
func (s *Server) lookNow(ctx context.Context, id customer.ID) error {
	err := s.customers.LookNow(ctx, id)
	s.enroller.Wake()
	return err
}

func syncOf(before, after customer.Explanation) syncBody {
	meaning := after.Meaning()
	return syncBody{
		ID:        after.ID,
		Looked:    after.AskedAt.After(before.AskedAt),
		Changed:   after.Version != before.Version || after.Reason != before.Reason,
		Lifecycle: after.Lifecycle,
		Reason:    orNull(string(after.Reason)),
		Sentence:  meaning.Sentence,
		Who:       meaning.Who,
		Then:      meaning.Next,
		AskedAt:   timeOrNull(after.AskedAt),
		Next:      timeOrNull(after.Next),
	}
}
