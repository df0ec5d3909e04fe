package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker"
)

// faulty is a directory with a bug.
type faulty struct {
	worker.Directory
	asked context.Context //nolint:containedctx // what the test is about
}

func (f *faulty) Search(ctx context.Context, _ []string) ([]auth0sync.User, error) {
	f.asked = ctx
	panic("a bug")
}

func (f *faulty) ByEmail(context.Context, string) ([]auth0sync.User, error) { panic("a bug") }

// A bug that looking one customer up meets must not end the process, with all that it
// serves: a look-up by itself is on a goroutine of its own.
func TestALookUpThatPanicsIsThatLooksError(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	w, err := worker.New(worker.Config{
		Schedule: "@every 1h", Holder: t.Name(), Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry(),
	}, s, &faulty{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := world{w, s, nil}.enroll(t, "ada@example.com")
	run, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindPromote})
	if err != nil || run.Result == customer.RunOK || run.Errors != 1 {
		t.Errorf("%+v, %v", run, err)
	}
	if e, err := s.Explain(t.Context(), id); err != nil || e.Reason != customer.Auth0Error {
		t.Errorf("%+v, %v", e, err)
	}
}

// A run that panics must not leave behind who renews its lease: nobody would ever
// work again.
func TestARunThatPanicsGivesItsLeaseUp(t *testing.T) {
	t.Parallel()
	s, directory := storetest.New(t), &faulty{}
	w, err := worker.New(worker.Config{
		Schedule: "@every 1h", Holder: t.Name(), Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry(),
	}, s, directory, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d"} { // so many that they are searched for
		world{w, s, nil}.enroll(t, name+"@example.com")
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = w.RunOnce(t.Context(), worker.Order{Kind: worker.KindSync})
		t.Error("the run did not meet the bug")
	}()
	if directory.asked.Err() == nil {
		t.Error("the run goes on: its lease is still renewed")
	}
}

// broken is a store with a bug in one call.
type broken struct {
	*store.Store
	in string
}

func (b *broken) meet(call string) {
	if b.in == call {
		panic("a bug")
	}
}

func (b *broken) SoughtCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Sought, error) {
	b.meet("SoughtCustomers")
	return b.Store.SoughtCustomers(ctx, after, limit)
}

func (b *broken) LinkedCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Linked, error) {
	b.meet("LinkedCustomers")
	return b.Store.LinkedCustomers(ctx, after, limit)
}

func (b *broken) List(ctx context.Context, fence int64, users []customer.Sighting) error {
	b.meet("List")
	return b.Store.List(ctx, fence, users)
}

func (b *broken) Link(ctx context.Context, fence int64, links []customer.Link, cause customer.Cause) ([]customer.ID, error) {
	b.meet("Link")
	return b.Store.Link(ctx, fence, links, cause)
}

// What a full reconcile does beside something else is on goroutines of its own, where
// a panic would end the process, and again at the next.
func TestAFullReconcileThatPanicsBesideFails(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"SoughtCustomers", "LinkedCustomers", "List", "Link"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := &broken{in: call}
			w := newWorldOver(t, auth0sim.Options{}, brief(), func(whole *store.Store) worker.Store {
				s.Store = whole
				return s
			})
			w.enroll(t, "ada@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
			w.tenant.Advance(2 * time.Minute) // nothing is fresh any more
			if run, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindReconcile}); err != nil || run.Result == customer.RunOK || run.Linked != 0 {
				t.Errorf("%+v, %v", run, err)
			}
			s.in = ""
			if run := w.runAs(t, worker.KindReconcile); run.Result != customer.RunOK || run.Linked != 1 {
				t.Errorf("the next run: %+v", run)
			}
		})
	}
}
