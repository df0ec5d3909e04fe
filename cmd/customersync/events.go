package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

type eventsCmd struct {
	List    eventsListCmd    `cmd:"" help:"List what happened to customers, as the feed has it."`
	Targets eventsTargetsCmd `cmd:"" help:"Say how far the deliveries to each target have come."`
	Dead    eventsDeadCmd    `cmd:"" help:"List the events that a target did not take within a day."`
	Replay  eventsReplayCmd  `cmd:"" help:"Have all events since a time delivered again."`
}

// sinceFlag is a time by RFC 3339, or how long ago.
type sinceFlag string

func (f sinceFlag) time(now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(string(f)); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, string(f))
	if err != nil {
		return time.Time{}, usageError{errors.New("--since: expected a time such as 2026-11-24T09:00:00Z, or how long ago, such as 6h")}
	}
	return at, nil
}

type eventsListCmd struct {
	Since sinceFlag `help:"From then on: a time by RFC 3339, or how long ago, such as 6h." placeholder:"TIME" default:"24h"`
	JSON  bool      `help:"Print JSON, a line for each."`
}

const eventsPage = 500 // events a query

// Run lists events.
func (v eventsListCmd) Run(ctx context.Context, p process, s *settings) error {
	since, err := v.Since.time(time.Now())
	if err != nil {
		return err
	}
	return p.withStore(ctx, s, func(st *store.Store) error {
		position, _, err := st.EventsSince(ctx, since)
		if err != nil {
			return err
		}
		for {
			page, err := st.Events(ctx, position, eventsPage)
			if err != nil {
				return err
			}
			for _, e := range page {
				if err := v.print(p, e); err != nil {
					return err
				}
				position = e.Position
			}
			if len(page) < eventsPage {
				return nil
			}
		}
	})
}

func (v eventsListCmd) print(p process, e customer.Event) error {
	if v.JSON {
		p.printJSON(eventJSON(e))
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "%s  %s  version %d  %s%s\n", e.At.Format(time.RFC3339), e.Customer, e.Version, e.Type, prefixed(" ", e.Field))
	return err
}

func eventJSON(e customer.Event) map[string]any {
	return map[string]any{
		"event_id": e.ID(), "type": e.Type, "occurred_at": e.At, "customer_id": e.Customer, "version": e.Version,
		"customer_lifecycle": e.Lifecycle, "field": e.Field,
	}
}

type eventsTargetsCmd struct {
	JSON bool `help:"Print JSON, a line for each."`
}

// Run says how the targets stand.
func (v eventsTargetsCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		targets, err := st.EventTargets(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, t := range targets {
			if v.JSON {
				p.printJSON(map[string]any{"target": t.Name, "unread": t.Unread, "waiting": t.Waiting, "dead": t.Dead, "oldest": timeText(t.Oldest)})
				continue
			}
			_, _ = fmt.Fprintf(table, "%s\t%d unread\t%d waiting\t%d dead\t%s\n", t.Name, t.Unread, t.Waiting, t.Dead, prefixed("oldest of ", timeText(t.Oldest)))
		}
		return table.Flush()
	})
}

type eventsDeadCmd struct {
	Target string `help:"Of this target alone." placeholder:"NAME"`
	Limit  int    `help:"How many, the latest first." default:"100"`
	JSON   bool   `help:"Print JSON, a line for each."`
}

// Run lists dead letters.
func (v eventsDeadCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		dead, err := st.DeadEvents(ctx, v.Target, v.Limit)
		if err != nil {
			return err
		}
		for _, d := range dead {
			if v.JSON {
				one := eventJSON(d.Event)
				one["target"], one["attempts"], one["first_attempt_at"], one["dead_at"], one["why"] = d.Target, d.Attempts, d.First, d.Dead, d.Note
				p.printJSON(one)
				continue
			}
			if _, err := fmt.Fprintf(p.stdout, "%s  %s  version %d  %s  of %s, given up at %s after %d attempts: %s\n",
				d.Target, d.Event.Customer, d.Event.Version, d.Event.Type, d.Event.At.Format(time.RFC3339), d.Dead.Format(time.RFC3339), d.Attempts, d.Note); err != nil {
				return err
			}
		}
		return nil
	})
}

type eventsReplayCmd struct {
	Since  sinceFlag `help:"From then on: a time by RFC 3339, or how long ago, such as 6h." placeholder:"TIME" required:""`
	Target string    `help:"To this target alone." placeholder:"NAME"`
	JSON   bool      `help:"Print JSON."`
}

// Run sets targets back. The daemon does the rest.
func (v eventsReplayCmd) Run(ctx context.Context, p process, s *settings) error {
	since, err := v.Since.time(time.Now())
	if err != nil {
		return err
	}
	return p.withStore(ctx, s, func(st *store.Store) error {
		targets, n, err := st.ReplayEvents(ctx, v.Target, since)
		if errors.Is(err, customer.ErrNotFound) {
			return fmt.Errorf("there is no target %q (customersync events targets)", v.Target)
		}
		if err != nil {
			return err
		}
		if v.JSON {
			p.printJSON(map[string]any{"targets": append([]string{}, targets...), "events": n})
			return nil
		}
		to := strings.Join(targets, ", ")
		if to == "" {
			to = "nobody: no target was ever set"
		}
		_, err = fmt.Fprintf(p.stdout, "The daemon delivers %d events again, to %s.\n", n, to)
		return err
	})
}
