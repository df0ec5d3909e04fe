package planning_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/worker"
	"github.com/ahiko-io/customersync/worker/planning"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// runner does what a test has a run do. How real ones go, package ops tests.
type runner func(ctx context.Context, o worker.Order) (customer.Run, error)

func (r runner) RunOnce(ctx context.Context, o worker.Order) (customer.Run, error) { return r(ctx, o) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func made(t testing.TB, s *store.Store) customer.Customer {
	t.Helper()
	id := customer.ID(uuid.NewString())
	email, err := customer.ParseEmail(string(id) + "@example.com")
	must(t, err)
	_, _, err = s.Create(t.Context(), customer.Draft{ID: id, FirstName: "Ada", LastName: "L", Email: email}, nil, customer.Cause{Kind: customer.ByAPI, Actor: "test"})
	must(t, err)
	c, err := s.Customer(t.Context(), id)
	must(t, err)
	return c
}

// plan has a plan made by a run, and returns it.
func plan(t testing.TB, s *store.Store, run runner) customer.Plan {
	t.Helper()
	p := planning.New(t.Context(), s, run, zap.NewNop())
	must(t, p.Make(t.Context(), "Joan", "to see"))
	p.Wait()
	got, err := s.Plan(t.Context())
	must(t, err)
	return got
}

func TestHowAMakingEnds(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ada := made(t, s)
	proposes := func(o worker.Order, n int) {
		for i := range n {
			o.Each(worker.Outcome{Customer: ada, Action: worker.ActionLink, AuthUserID: fmt.Sprintf("auth0|%d", i)})
			o.Each(worker.Outcome{Customer: ada, Action: worker.ActionHold})
		}
	}
	for name, test := range map[string]struct {
		run     runner
		state   customer.PlanState
		changes int
		note    string
	}{
		"well": {func(_ context.Context, o worker.Order) (customer.Run, error) {
			o.Begun(42)
			o.Progress(worker.Progress{Users: 5, Total: 9})
			proposes(o, 1500)
			return customer.Run{ID: 42, Result: customer.RunOK}, nil
		}, customer.PlanReady, 1500, ""},
		"with nothing to do": {func(context.Context, worker.Order) (customer.Run, error) {
			return customer.Run{Result: customer.RunOK}, nil
		}, customer.PlanReady, 0, ""},
		"in part": {func(_ context.Context, o worker.Order) (customer.Run, error) {
			proposes(o, 3)
			return customer.Run{ID: 42, Result: customer.RunPartial, Note: "status 503"}, nil
		}, customer.PlanFailed, -1, "status 503"},
		"behind another": {func(context.Context, worker.Order) (customer.Run, error) {
			return customer.Run{}, customer.ErrLeaseHeld
		}, customer.PlanFailed, -1, "another full reconcile is under way"},
		"by a panic": {func(context.Context, worker.Order) (customer.Run, error) { panic("oh") }, customer.PlanFailed, -1, "panicked"},
		"too large": {func(_ context.Context, o worker.Order) (customer.Run, error) {
			proposes(o, 50_001)
			return customer.Run{Result: customer.RunOK}, nil
		}, customer.PlanFailed, -1, "reconcile --plan"},
	} {
		got := plan(t, s, test.run)
		if got.State != test.state || test.changes >= 0 && got.Changes() != test.changes || !strings.Contains(got.Note, test.note) {
			t.Errorf("%s: %+v", name, got)
		}
		if name == "well" && (got.Run != 42 || got.Users != 5 || got.Total != 9) {
			t.Errorf("its progress: %+v", got)
		}
	}
}

func TestAnApplyingThatIsCutOffLeavesTheRestToBeApplied(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ada, eve := made(t, s), made(t, s)
	p := plan(t, s, func(_ context.Context, o worker.Order) (customer.Run, error) {
		for _, c := range []customer.Customer{ada, eve} {
			o.Each(worker.Outcome{Customer: c, Action: worker.ActionLink, AuthUserID: "auth0|" + string(c.ID)})
		}
		return customer.Run{Result: customer.RunOK}, nil
	})
	stopping, stop := context.WithCancel(t.Context())
	apply := func(ctx context.Context, run runner) customer.Plan {
		t.Helper()
		planner := planning.New(ctx, s, run, zap.NewNop())
		must(t, planner.Apply(t.Context(), p.ID, nil, "Joan", "I read it"))
		planner.Wait()
		got, err := s.Plan(t.Context())
		must(t, err)
		return got
	}
	got := apply(stopping, func(ctx context.Context, o worker.Order) (customer.Run, error) {
		if o.Kind != worker.KindApply || o.By != "Joan" || o.Why != "I read it" || len(o.Planned) != 2 {
			t.Errorf("ordered %+v", o)
		}
		o.Done(o.Planned[0])
		stop() // the process is told to end
		return customer.Run{ID: 7, Result: customer.RunAborted, Note: "stopping"}, ctx.Err()
	})
	if got.State != customer.PlanReady || got.Done != 1 || got.Chosen != 1 || got.Note == "" {
		t.Errorf("cut off: %+v", got)
	}
	got = apply(t.Context(), func(_ context.Context, o worker.Order) (customer.Run, error) {
		if len(o.Planned) != 1 || o.Planned[0].Customer != eve.ID || o.Planned[0].Version != eve.Version {
			t.Errorf("ordered %+v", o.Planned)
		}
		o.Refused(o.Planned[0], "it moved")
		return customer.Run{Result: customer.RunPartial}, nil
	})
	if got.State != customer.PlanReady || got.Done != 1 || got.Refused != 1 || got.Note != "" {
		t.Errorf("the rest: %+v", got)
	}
	if err := planning.New(t.Context(), s, nil, zap.NewNop()).Apply(t.Context(), p.ID+1, nil, "Joan", "x"); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("of no plan: %v", err)
	}
}
