package worker_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/store/storetest"
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

// A run that panics must not leave behind who renews its lease: nobody would ever
// work again.
func TestARunThatPanicsGivesItsLeaseUp(t *testing.T) {
	t.Parallel()
	s, directory := storetest.New(t), &faulty{}
	w, err := worker.New(worker.Config{
		Schedule: "@every 1h", Holder: t.Name(), Logger: zap.NewNop(), Metrics: prometheus.NewRegistry(),
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
