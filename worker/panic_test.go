package worker_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
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
