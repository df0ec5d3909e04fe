package worker_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// measured is a world whose metrics can be read.
type measured struct {
	world
	registry *prometheus.Registry
}

func newMeasured(t *testing.T) measured {
	t.Helper()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	m := measured{w, prometheus.NewRegistry()}
	m.Worker = newWorkerOf(t, m.store, m.tenant.Issuer(), worker.Config{Metrics: m.registry}, m.tenant.Advance)
	return m
}

// metric is the series of a family with this label.
func (m measured) metric(t *testing.T, name, label string) *dto.Metric {
	t.Helper()
	families, err := m.registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if f.GetName() == name && (label == "" || one.GetLabel()[0].GetValue() == label) {
				return one
			}
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return nil
}

func TestTheLagIsCountedByWhatLedToTheCustomer(t *testing.T) {
	t.Parallel()
	m := newMeasured(t)
	m.enroll(t, "ada@example.com")
	m.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	m.run(t)
	m.enroll(t, "grace@example.com")
	m.run(t)
	u := m.signUp(t, auth0sim.SignUp{Email: "grace@example.com", EmailVerified: yes()})
	m.hint(t, u)
	m.runAs(t, worker.KindInbox)
	for label, want := range map[string]uint64{"cron": 1, "delivery": 1, "reconcile": 0, "request": 0} {
		h := m.metric(t, "customersync_link_lag_seconds", label).GetHistogram()
		if h.GetSampleCount() != want {
			t.Errorf("%d lags of customers found by %s, want %d", h.GetSampleCount(), label, want)
		}
		if s := h.GetSampleSum(); s < 0 || s > 60 {
			t.Errorf("customers found by %s waited %f s", label, s)
		}
	}
}

// hint delivers what Auth0 says of a user.
func (m measured) hint(t *testing.T, u auth0sim.User) {
	t.Helper()
	email, err := customer.ParseEmail(u.Email)
	must(t, err)
	_, err = m.store.Receive(t.Context(), customer.Delivery{
		Source: "action", EventID: "of " + u.ID, Kind: "user.created", Understood: true,
		Hint: customer.Hint{AuthUserID: u.ID, Email: u.Email, Key: email.Key, Verified: true},
	})
	must(t, err)
}

// A lag is from when both the customer and the user's last change were there.
func TestTheLagBeginsWithWhoeverCameLast(t *testing.T) {
	t.Parallel()
	m := newMeasured(t)
	m.tenant.Advance(-time.Hour)
	m.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()}) // an hour ago
	m.enroll(t, "ada@example.com")
	m.look(t, "ada@example.com")
	h := m.metric(t, "customersync_link_lag_seconds", "request").GetHistogram()
	if h.GetSampleCount() != 1 || h.GetSampleSum() > 60 {
		t.Errorf("%d lags of %f s: the customer was made just now", h.GetSampleCount(), h.GetSampleSum())
	}
}

func TestLeasesAreShownWhileTheyAreHeld(t *testing.T) {
	t.Parallel()
	m := newMeasured(t)
	m.enroll(t, "ada@example.com")
	held := -1.0
	r, err := m.RunOnce(t.Context(), worker.Order{Kind: worker.KindPromote, Each: func(worker.Outcome) {
		held = m.metric(t, "customersync_lease_held", "worker").GetGauge().GetValue()
	}})
	must(t, err)
	if r.Looked != 1 || held != 1 {
		t.Errorf("%d looked at; the lease is shown as %v while it is held", r.Looked, held)
	}
	if after := m.metric(t, "customersync_lease_held", "worker").GetGauge().GetValue(); after != 0 {
		t.Errorf("the lease is shown as %v after the run", after)
	}
}

// A daemon that was restarted must not look as if it had never reconciled.
func TestARestartedDaemonShowsTheRunsBeforeIt(t *testing.T) {
	t.Parallel()
	before := newMeasured(t)
	run := before.runAs(t, worker.KindReconcile)
	if run.Result != customer.RunOK {
		t.Fatalf("reconcile ended %s: %s", run.Result, run.Note)
	}
	after := measured{before.world, prometheus.NewRegistry()}
	after.Worker = newWorkerOf(t, before.store, before.tenant.Issuer(), worker.Config{Metrics: after.registry}, before.tenant.Advance)
	after.Remember(t.Context())
	for _, name := range []string{"customersync_run_last_attempt_timestamp_seconds", "customersync_run_last_success_timestamp_seconds"} {
		got := time.UnixMilli(int64(after.metric(t, name, worker.KindReconcile).GetGauge().GetValue() * 1000))
		if d := run.Ended.Sub(got); d < -time.Minute || d > time.Minute {
			t.Errorf("%s is %s, the run ended %s", name, got, run.Ended)
		}
	}
}
