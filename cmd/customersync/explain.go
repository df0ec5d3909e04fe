package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

type explainCmd struct {
	Customer string `arg:"" help:"E-mail address or customer_id."`
	JSON     bool   `help:"Print JSON."`
}

// Run tells why a customer is in its state.
func (v explainCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		id, err := v.find(ctx, st)
		if err != nil {
			return err
		}
		e, err := st.Explain(ctx, id)
		if err != nil {
			return err
		}
		if v.JSON {
			p.printJSON(explanationJSON(e))
			return nil
		}
		_, err = io.WriteString(p.stdout, inWords(e))
		return err
	})
}

func (v explainCmd) find(ctx context.Context, st *store.Store) (customer.ID, error) {
	if !strings.Contains(v.Customer, "@") {
		id, err := customer.ParseID(v.Customer)
		if err != nil {
			return "", usageError{fmt.Errorf("%q is neither an e-mail address nor a customer_id", v.Customer)}
		}
		return id, nil
	}
	email, err := customer.ParseEmail(v.Customer)
	if err != nil {
		return "", usageError{err}
	}
	found, err := st.CustomerByEmail(ctx, email.Key)
	if errors.Is(err, customer.ErrNotFound) {
		return "", errors.New("no customer has this e-mail address")
	}
	return found.ID, err
}

// inWords is an explanation for a terminal.
func inWords(e customer.Explanation) string {
	var b strings.Builder
	state := string(e.Lifecycle)
	if e.Reason != "" {
		state += ", " + string(e.Reason)
	}
	meaning := e.Meaning()
	fmt.Fprintf(&b, "%s %s <%s>\n%s\n\n%s: %s\n", e.FirstName, e.LastName, e.Email.Address, e.ID, state, meaning.Sentence)
	fmt.Fprintf(&b, "Who has to act: %s. %s\n", meaning.Who, meaning.Next)
	fmt.Fprintf(&b, "Auth0 last asked: %s. Asked next: %s.\n\n", orNever(e.AskedAt), orNever(e.Next))
	if len(e.Candidates) > 0 {
		fmt.Fprintf(&b, "Auth0 users in question (customersync conflicts resolve):\n%s\n", candidatesInWords(e.Candidates))
	}
	for _, line := range timeline(e) {
		b.WriteString(line)
	}
	return b.String()
}

// timeline is a line for each change, and for looks in a row that came to the same, oldest
// first.
func timeline(e customer.Explanation) (lines []string) {
	type moment struct {
		at   time.Time
		line string
	}
	var all []moment
	for _, h := range e.History {
		all = append(all, moment{h.At, fmt.Sprintf("%-12s %s  by %s %s%s", h.What, change(h), h.Cause.Kind, h.Cause.Actor, prefixed(": ", h.Cause.Why))})
	}
	for _, l := range e.Looks {
		all = append(all, moment{l.Last, fmt.Sprintf("looked ×%d since %s: %s  by %s", l.Count, l.First.Format(time.RFC3339), l.Reason, l.By)})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	for _, m := range all {
		lines = append(lines, m.at.Format(time.RFC3339)+"  "+m.line+"\n")
	}
	return lines
}

// explanationJSON has the members that the API's answer has, and the customer's own.
// Times are texts, "" for none.
func explanationJSON(e customer.Explanation) map[string]any {
	meaning, history, looks := e.Meaning(), []map[string]any{}, []map[string]any{}
	for _, l := range e.Looks {
		looks = append(looks, map[string]any{"reason": l.Reason, "by": l.By, "count": l.Count, "first_at": timeText(l.First), "last_at": timeText(l.Last)})
	}
	for _, h := range e.History {
		history = append(history, map[string]any{
			"version": h.Version, "at": timeText(h.At), "change": h.What, "field": h.Field, "from": h.From, "to": h.To,
			"from_lifecycle": h.FromLifecycle, "to_lifecycle": h.ToLifecycle, "by": h.Cause.Kind, "actor": h.Cause.Actor,
			"request_id": h.Cause.RequestID, "why": h.Cause.Why, "evidence": h.Evidence,
		})
	}
	return map[string]any{
		"customer_id": e.ID, "first_name": e.FirstName, "last_name": e.LastName, "email_address": e.Email.Address, "auth_user_id": e.AuthUserID,
		"customer_lifecycle": e.Lifecycle, "reason": e.Reason, "sentence": meaning.Sentence, "who_acts": meaning.Who, "then": meaning.Next,
		"auth0_asked_at": timeText(e.AskedAt), "next_look_at": timeText(e.Next), "looks_without_change": e.Misses,
		"candidates": candidatesJSON(e.Candidates), "looks": looks, "history": history,
	}
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format(time.RFC3339)
}

func change(h customer.Change) string {
	moved := string(h.ToLifecycle)
	if h.FromLifecycle != "" && h.FromLifecycle != h.ToLifecycle {
		moved = string(h.FromLifecycle) + " → " + moved
	}
	if h.Field == "" {
		return moved
	}
	return fmt.Sprintf("%s (%s: %q → %q)", moved, h.Field, h.From, h.To)
}
