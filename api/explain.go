package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// explanationBody is why a customer is in its state, for support (R19).
type explanationBody struct {
	ID         customer.ID        `json:"customer_id"`
	Lifecycle  customer.Lifecycle `json:"customer_lifecycle"`
	Reason     *string            `json:"reason"`
	Sentence   string             `json:"sentence"`
	Who        string             `json:"who_acts"`
	Then       string             `json:"then"`
	AskedAt    *string            `json:"auth0_asked_at"`
	Next       *string            `json:"next_look_at"`
	Misses     int                `json:"looks_without_change"`
	Candidates []candidateBody    `json:"candidates"`
	Looks      []lookBody         `json:"looks"`
	History    []changeBody       `json:"history"`
}

// lookBody is what one or more looks in a row came to.
type lookBody struct {
	Reason string `json:"reason"`
	By     string `json:"by"`
	Count  int    `json:"count"`
	First  string `json:"first_at"`
	Last   string `json:"last_at"`
}

// changeBody is one row of the history.
type changeBody struct {
	Version       int64           `json:"version"`
	At            string          `json:"at"`
	Change        string          `json:"change"`
	Field         *string         `json:"field"`
	From          *string         `json:"from"`
	To            *string         `json:"to"`
	FromLifecycle *string         `json:"from_lifecycle"`
	ToLifecycle   string          `json:"to_lifecycle"`
	By            string          `json:"by"`
	Actor         string          `json:"actor"`
	RequestID     *string         `json:"request_id"`
	Why           string          `json:"why"`
	Evidence      json.RawMessage `json:"evidence"`
}

// explain tells support why a customer waits. It needs read:customers: a person
// asking about itself gets what a stranger gets.
func (s *Server) explain(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if !c.principal.may(readCustomers) {
		return fail(codeForbidden)
	}
	id, err := customer.ParseID(c.r.PathValue("customer_id"))
	if err != nil {
		return customer.ErrNotFound
	}
	e, err := s.customers.Explain(c.r.Context(), id)
	if errors.Is(err, customer.ErrNotFound) {
		return customer.ErrNotFound
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct {
		Success bool            `json:"success"`
		Data    explanationBody `json:"data"`
	}{true, explanation(e)})
	return nil
}

func explanation(e customer.Explanation) explanationBody {
	meaning := e.Meaning()
	body := explanationBody{
		ID:         e.ID,
		Lifecycle:  e.Lifecycle,
		Reason:     orNull(string(e.Reason)),
		Sentence:   meaning.Sentence,
		Who:        meaning.Who,
		Then:       meaning.Next,
		AskedAt:    timeOrNull(e.AskedAt),
		Next:       timeOrNull(e.Next),
		Misses:     e.Misses,
		Candidates: candidatesOf(e.Candidates),
		Looks:      []lookBody{},
		History:    []changeBody{},
	}
	for _, l := range e.Looks {
		body.Looks = append(body.Looks, lookBody{
			Reason: string(l.Reason), By: l.By, Count: l.Count, First: l.First.Format(customer.TimeFormat), Last: l.Last.Format(customer.TimeFormat),
		})
	}
	for _, h := range e.History {
		body.History = append(body.History, changeBody{
			Version: h.Version, At: h.At.Format(customer.TimeFormat), Change: h.What,
			Field: orNull(h.Field), From: orNull(h.From), To: orNull(h.To),
			FromLifecycle: orNull(string(h.FromLifecycle)), ToLifecycle: string(h.ToLifecycle),
			By: string(h.Cause.Kind), Actor: h.Cause.Actor, RequestID: orNull(h.Cause.RequestID), Why: h.Cause.Why,
			Evidence: h.Evidence,
		})
	}
	return body
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(customer.TimeFormat)
	return &s
}
