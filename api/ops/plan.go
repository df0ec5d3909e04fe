package ops

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// Planner does what must be read before it is done. cmd fills it with package planning.
type Planner interface {
	Preview(ctx context.Context, most int) ([]customer.Proposal, customer.Run, error)
	Promote(ctx context.Context, most int, by, why string) (customer.Run, error)
	Make(ctx context.Context, by, why string) error
	Apply(ctx context.Context, plan int64, places []int64, by, why string) error
}

const (
	// askWithin is how long Auth0 may take over a page of customers, within what a
	// connection has for its answer.
	askWithin = 45 * time.Second
	// refreshed is how soon a page comes again that shows work under way.
	refreshed = "3"
)

// errNoPlanner says that this process does no work.
var errNoPlanner = errors.New("nothing can be done from here")

// planPage is what would be done, and what was asked for.
type planPage struct {
	Due  customer.Status // of those that are due
	Plan *customer.Plan  // nil: there is none
	Rows []planned
	Next int // behind which the next page of rows begins; 0: this is the last

	Rights rights
}

type planned struct {
	customer.PlanRow
	Address string
}

// May reports whether a row can be asked for.
func (r planned) May() bool {
	return r.Outcome != customer.OutcomeDone && r.Outcome != customer.OutcomeChosen
}

// Refused is why the row was not done; "" if it was not refused.
func (r planned) Refused() string {
	if r.Outcome == customer.OutcomeOpen || r.Outcome == customer.OutcomeDone || r.Outcome == customer.OutcomeChosen {
		return ""
	}
	return r.Outcome
}

// Busy reports whether the plan is being worked on.
func (p planPage) Busy() bool {
	return p.Plan != nil && !p.Plan.Silent && (p.Plan.State == customer.PlanMaking || p.Plan.State == customer.PlanApplying)
}

// Ready reports whether rows of the plan may be asked for.
func (p planPage) Ready() bool {
	return p.Plan != nil && (p.Plan.State == customer.PlanReady || p.Plan.State == customer.PlanApplying && p.Plan.Silent)
}

// Offers reports whether whoever asks may have rows applied.
func (p planPage) Offers() bool { return p.Ready() && p.Rights.Act }

// Progress is how far the making is, in percent.
func (p planPage) Progress() int { return width(p.Plan.Users, max(p.Plan.Total, p.Plan.Users)) }

func (p *page) plan(w http.ResponseWriter, r *http.Request) error {
	view := planPage{Rights: rightsOf(r)}
	var err error
	if view.Due, err = p.store.Glance(r.Context()); err != nil {
		return err
	}
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil || after < 0 {
		after = 0
	}
	plan, err := p.store.Plan(r.Context())
	switch {
	case errors.Is(err, customer.ErrNotFound):
	case err != nil:
		return err
	default:
		view.Plan = &plan
	}
	if view.Ready() || view.Busy() {
		rows, err := p.store.PlanRows(r.Context(), plan.ID, after, shown)
		if err != nil {
			return err
		}
		for _, row := range rows {
			view.Rows = append(view.Rows, planned{row, mask(row.Address)})
		}
		if len(rows) == shown {
			view.Next = rows[shown-1].Place
		}
	}
	if view.Busy() {
		w.Header().Set("Refresh", refreshed)
	}
	render(w, http.StatusOK, "plan", view)
	return nil
}

// makePlan has a plan of a full reconcile made.
func (p *page) makePlan(w http.ResponseWriter, r *http.Request) error {
	cause, err := p.wanted(w, r)
	if err != nil {
		return err
	}
	if err := p.planner.Make(r.Context(), cause.Actor, cause.Why); err != nil {
		return err
	}
	http.Redirect(w, r, "/ops/plan", http.StatusSeeOther)
	return nil
}

// applyPlan has a plan carried out: wholly, or the rows that were ticked.
func (p *page) applyPlan(w http.ResponseWriter, r *http.Request) error {
	cause, err := p.wanted(w, r)
	if err != nil {
		return err
	}
	plan, err := strconv.ParseInt(r.PathValue("plan"), 10, 64)
	if err != nil {
		return errNoPlan
	}
	var places []int64 // nil: all
	switch r.PostFormValue("do") {
	case "all":
	case "ticked":
		if places, err = ticked(r); err != nil {
			return err
		}
	default:
		return errNothing
	}
	if err := p.planner.Apply(r.Context(), plan, places, cause.Actor, cause.Why); err != nil {
		return noPlan(err)
	}
	http.Redirect(w, r, "/ops/plan", http.StatusSeeOther)
	return nil
}

// ticked reads the rows that were chosen.
func ticked(r *http.Request) ([]int64, error) {
	var places []int64
	for _, text := range r.PostForm["row"] {
		place, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, customer.FieldError{Field: "row", Problem: "must be one of the plan's"}
		}
		places = append(places, place)
	}
	if len(places) == 0 {
		return nil, customer.FieldError{Field: "row", Problem: "must be ticked, at least one"}
	}
	return places, nil
}

// wanted reads who wants something done, and why.
func (p *page) wanted(w http.ResponseWriter, r *http.Request) (customer.Cause, error) {
	if p.planner == nil {
		return customer.Cause{}, errNoPlanner
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	return caused(r)
}

// previewed is what a run would do.
type dryRun struct {
	customer.Run
	Advice    string
	Proposals []proposed
	Full      bool // there may be more that are due
}

type proposed struct {
	customer.Proposal
	Address string
}

// dry says what a run would do now. It costs calls at Auth0, so it is no GET.
func (p *page) dry(w http.ResponseWriter, r *http.Request) error {
	if p.planner == nil {
		return errNoPlanner
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askWithin)
	defer cancel()
	proposals, run, err := p.planner.Preview(ctx, shown)
	if err != nil {
		return err
	}
	view := dryRun{Run: run, Advice: advice(run), Full: len(proposals) == shown}
	for _, o := range proposals {
		view.Proposals = append(view.Proposals, proposed{o, mask(o.Email.Address)})
	}
	render(w, http.StatusOK, "dry", view)
	return nil
}

// promote does what was previewed, as far as Auth0 still says the same.
func (p *page) promote(w http.ResponseWriter, r *http.Request) error {
	cause, err := p.wanted(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askWithin)
	defer cancel()
	run, err := p.planner.Promote(ctx, shown, cause.Actor, cause.Why)
	if err != nil {
		return err
	}
	if run.ID == 0 { // nobody was due any more
		http.Redirect(w, r, "/ops/plan", http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, "/ops/runs/"+strconv.FormatInt(run.ID, 10), http.StatusSeeOther)
	return nil
}
