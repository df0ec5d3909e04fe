package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

type reconcileCmd struct {
	Plan   string `help:"Change nothing, and write to FILE what would be changed: a line of JSON for each customer." placeholder:"FILE" xor:"how"`
	Apply  string `help:"Do what FILE, a plan that you have read, says, wherever the world is still as it was." placeholder:"FILE" xor:"how"`
	Resume bool   `help:"Go on with the export of a reconcile that was cut off within the last day." xor:"how"`
	JSON   bool   `help:"Print JSON, a line for each customer and one for the run."`
}

// Run holds all customers against all users of the tenant, through the same code
// as the daemon does at night.
func (v reconcileCmd) Run(ctx context.Context, p process, s *settings) error {
	c, err := s.config(p.getenv, needsAuth0)
	if err != nil {
		return err
	}
	order := worker.Order{Kind: worker.KindReconcile, Resume: v.Resume, Progress: p.progress()}
	order.Each = func(o worker.Outcome) {
		if o.Action != worker.ActionHold {
			p.printOutcome(o, syncCmd{JSON: v.JSON})
		}
	}
	switch {
	case v.Apply != "":
		if order.Planned, err = readPlan(v.Apply); err != nil {
			return usageError{fmt.Errorf("--apply: %w", err)}
		}
		order.Kind, order.Each = worker.KindApply, nil
		order.Refused = func(row worker.Planned, why string) { p.printRefused(row, why, v.JSON) }
	case v.Plan != "":
		return v.plan(ctx, p, c, order)
	}
	run, err := p.reconcile(ctx, c, order)
	if err != nil {
		return err
	}
	p.printRun(run, syncCmd{JSON: v.JSON})
	return verdict(run)
}

// plan writes the plan whole or not at all.
func (v reconcileCmd) plan(ctx context.Context, p process, c config, order worker.Order) error {
	file, err := os.OpenFile(v.Plan, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // it holds e-mail addresses
	if err != nil {
		return usageError{fmt.Errorf("--plan: expected a file that does not exist yet: %w", err)}
	}
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	err = lines.Encode(planHead{Version: planVersion, Made: time.Now().UTC()})
	rows := 0
	order.Kind = worker.KindPlan
	order.Each = func(o worker.Outcome) {
		if o.Action == worker.ActionHold {
			return
		}
		rows++
		err = errors.Join(err, lines.Encode(rowOf(o)))
	}
	drift := map[customer.FindingKind]int{}
	order.Found = func(f customer.Finding) {
		drift[f.What]++
		if f.What != customer.FoundGone && f.What != customer.FoundMoved { // those are changes, not notes
			err = errors.Join(err, lines.Encode(planRow{Action: planNote, Customer: f.Customer, AuthUserID: f.AuthUserID, Note: f.What}))
		}
	}
	run, runErr := p.reconcile(ctx, c, order)
	if err = errors.Join(runErr, err, out.Flush(), file.Close()); err != nil || run.Result != customer.RunOK {
		return errors.Join(err, verdict(run), os.Remove(v.Plan))
	}
	p.printRun(run, syncCmd{JSON: v.JSON})
	_, _ = fmt.Fprintf(p.stderr, "%d changes are planned in %s. Linked customers whose user is blocked: %d, has another address: %d, is not verified: %d.\n",
		rows, v.Plan, drift[customer.FoundBlocked], drift[customer.FoundEmailChanged], drift[customer.FoundUnverified]) // nowhere left to report to
	return nil
}

// reconcile puts the parts together and runs once.
func (p process) reconcile(ctx context.Context, c config, order worker.Order) (customer.Run, error) {
	log := p.logger(max(c.logLevel, zapWarn))
	dsn, stop, err := database(ctx, c, log)
	if err != nil {
		return customer.Run{}, err
	}
	defer func() { _ = stop() }() // the outcome is told by then
	st, w, err := syncer(c, dsn, prometheus.NewRegistry(), nil, log)
	if err != nil {
		return customer.Run{}, err
	}
	defer func() { _ = st.Close() }() // nothing is pending on it
	if err := st.Migrate(ctx); err != nil {
		return customer.Run{}, err
	}
	unmap(log)
	return whenFree(ctx, w, order)
}

// verdict is a run's result as an exit code has it.
func verdict(run customer.Run) error {
	switch run.Result {
	case customer.RunOK:
		return nil
	case customer.RunPartial:
		return fmt.Errorf("%w: %s", errPartial, run.Note)
	default:
		return fmt.Errorf("run %s: %s", run.Result, run.Note)
	}
}

const planVersion = 1

// planHead is the first line of a plan.
type planHead struct {
	Version int       `json:"customersync_plan"`
	Made    time.Time `json:"made_at"`
}

// planRow is a planned change of one customer.
type planRow struct {
	Action     worker.Action      `json:"action"`
	Customer   customer.ID        `json:"customer_id"`
	Address    string             `json:"email_address"`
	Lifecycle  customer.Lifecycle `json:"customer_lifecycle"`
	Version    int64              `json:"version"`
	AuthUserID string             `json:"auth_user_id"`
	// Note is what is found of a linked customer that changes nothing: its user has
	// another address than it, is blocked, or not verified any more.
	Note customer.FindingKind `json:"note,omitempty"`
}

// planNote is the action of rows that are only to be read.
const planNote worker.Action = "note"

func rowOf(o worker.Outcome) planRow {
	c := o.Customer
	return planRow{Action: o.Action, Customer: c.ID, Address: c.Email.Address, Lifecycle: c.Lifecycle, Version: c.Version, AuthUserID: o.AuthUserID}
}

// readPlan reads a plan as it was written, perhaps with lines taken out.
func readPlan(path string) ([]worker.Planned, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("expected a plan: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	lines := json.NewDecoder(file)
	lines.DisallowUnknownFields()
	var head planHead
	if err := lines.Decode(&head); err != nil || head.Version != planVersion {
		return nil, fmt.Errorf("%s: expected a plan made by customersync reconcile --plan", path)
	}
	var rows []worker.Planned
	for {
		var row planRow
		err := lines.Decode(&row)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err == nil {
			_, err = customer.ParseID(string(row.Customer))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: row %d is not as it was written: %w", path, len(rows)+1, err)
		}
		if row.Action == planNote {
			continue
		}
		rows = append(rows, worker.Planned{Customer: row.Customer, Version: row.Version, Action: row.Action, AuthUserID: row.AuthUserID})
	}
}

func (p process) printRefused(row worker.Planned, why string, asJSON bool) {
	if asJSON {
		p.printJSON(map[string]any{"refused": row.Action, "customer_id": row.Customer, "auth_user_id": row.AuthUserID, "why": why})
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%s  refused: %s %s: %s\n", row.Customer, row.Action, row.AuthUserID, why) // nowhere left to report to
}

// progress shows a bar on a terminal; nil, which is none, elsewhere.
func (p process) progress() func(worker.Progress) {
	bar := p.bar(0, "users")
	if bar == nil {
		return nil
	}
	return func(at worker.Progress) {
		bar.Describe(fmt.Sprintf("users (%d Auth0 calls left in the rate limit)", at.CallsLeft))
		bar.ChangeMax(max(at.Total, at.Users))
		_ = bar.Set(at.Users) // it is only for show
	}
}
