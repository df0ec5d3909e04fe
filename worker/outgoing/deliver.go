package outgoing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

// Store is what this package asks of the database. *store.Store has it.
type Store interface {
	Acquire(ctx context.Context, name customer.LeaseName, holder string, ttl time.Duration) (fence int64, err error)
	Renew(ctx context.Context, fence int64, ttl time.Duration) error
	Release(ctx context.Context, fence int64) error
	AddEventTarget(ctx context.Context, name string) error
	EventWork(ctx context.Context, target string, limit int) (customer.EventWork, error)
	SettleEvents(ctx context.Context, fence int64, target string, r customer.EventReport) error
	EventTargets(ctx context.Context) ([]customer.EventTarget, error)
}

// Config is what a Deliverer is made of. All fields are required.
type Config struct {
	Targets []Target
	Holder  string // this process's name in the lease row
	Logger  *zap.Logger
	Metrics prometheus.Registerer
}

// Deliverer delivers events. One process at a time does.
type Deliverer struct {
	store   Store
	targets []Target
	holder  string
	client  *http.Client
	log     *zap.Logger
	results *prometheus.CounterVec
}

// New returns a Deliverer that does nothing until Run is called.
func New(c Config, s Store) *Deliverer {
	d := &Deliverer{
		store: s, targets: c.Targets, holder: c.Holder, client: newClient(), log: c.Logger,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_event_deliveries_total",
			Help: "Attempts to deliver an event, by target and result: delivered, failed, or dead, which is not tried again.",
		}, []string{"target", "result"}),
	}
	c.Metrics.MustRegister(d.results, backlog{s, c.Targets, c.Logger})
	return d
}

const (
	leaseTTL   = 15 * time.Second
	renewEvery = 5 * time.Second
	// releaseWithin is what a process that stops may take to give the lease back.
	releaseWithin = 5 * time.Second
	// idle is the pause of a target for which there is nothing to do.
	idle = time.Second
	// pauseMost is the longest pause of a target that takes nothing.
	pauseMost = time.Minute
)

// Run delivers until ctx ends, while this process has the lease for it.
func (d *Deliverer) Run(ctx context.Context) {
	if len(d.targets) == 0 {
		return
	}
	for ctx.Err() == nil {
		fence, err := d.store.Acquire(ctx, customer.LeaseEvents, d.holder, leaseTTL)
		if err == nil {
			d.underLease(ctx, fence)
			continue
		}
		if !errors.Is(err, customer.ErrLeaseHeld) && ctx.Err() == nil {
			d.log.Warn("lease to deliver events", zap.Error(err))
		}
		pause(ctx, leaseTTL/3)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// underLease serves each target by itself: none waits for another.
func (d *Deliverer) underLease(ctx context.Context, fence int64) {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { d.keepLease(ctx, fence, stop) })
	for _, t := range d.targets {
		all.Go(func() { d.serve(ctx, fence, t, stop) })
	}
	all.Wait()
	stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if err := d.store.Release(ctx, fence); err != nil && !errors.Is(err, customer.ErrLeaseLost) {
		d.log.Warn("lease not released; it ends by its time to live", zap.Error(err))
	}
}

// keepLease renews the lease until ctx ends or it is lost. A database that does not
// answer is no lost lease: what is written checks for itself.
func (d *Deliverer) keepLease(ctx context.Context, fence int64, stop context.CancelFunc) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.store.Renew(ctx, fence, leaseTTL); errors.Is(err, customer.ErrLeaseLost) {
			stop()
			return
		}
	}
}

// serve goes on with a target until ctx ends. One that takes nothing is asked less and
// less often.
func (d *Deliverer) serve(ctx context.Context, fence int64, t Target, stop context.CancelFunc) {
	failing := 0
	for ctx.Err() == nil {
		did, err := d.roundSafely(ctx, fence, t, failing > 0)
		switch {
		case errors.Is(err, customer.ErrLeaseLost):
			stop()
			return
		case err != nil && ctx.Err() == nil:
			d.log.Error("deliver events", zap.String("target", t.Name), zap.Error(err))
		}
		switch {
		case err != nil || did == refused:
			pause(ctx, min(idle<<min(failing, 10), pauseMost))
			failing++
		case did == nothing:
			pause(ctx, idle)
		default:
			failing = 0
		}
	}
}

// roundSafely survives a panic.
func (d *Deliverer) roundSafely(ctx context.Context, fence int64, t Target, careful bool) (did result, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			d.log.Error("delivering panicked", zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	return d.Round(ctx, fence, t, careful)
}
