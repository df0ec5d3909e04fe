package api_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// working runs the worker, as a daemon does.
func (s *service) working() *service {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { _ = s.worker.Run(ctx) }) // it ends with ctx alone
	s.t.Cleanup(func() {
		cancel()
		background.Wait()
	})
	return s
}

// lookedUp makes a customer that Auth0 was asked about once, in vain.
func (s *service) lookedUp(address string) (id string) {
	s.t.Helper()
	id = s.create(address)
	_, err := s.worker.RunOnce(s.t.Context(), worker.Order{Kind: worker.KindPromote})
	must(s.t, err)
	return id
}

const (
	byEmail = "GET /api/v2/users-by-email"
	search  = "GET /api/v2/users"
)

func TestR18SyncAsksAuth0Now(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, waits := s.lookedUp("ada@example.com"), s.lookedUp("bob@example.com")
	s.working()
	user, ada := s.person("ada@example.com", true)
	got := s.do("POST", customers+"/me/sync", ada, "").data(t)
	if got["looked"] != true || got["changed"] != true || got["customer_lifecycle"] != "active" || got["reason"] != nil || got["customer_id"] != id {
		t.Errorf("Ada has signed up: %v", got)
	}
	if linked := s.do("GET", customers+"/"+id, s.machine(), "").data(t); linked["auth_user_id"] != user.ID {
		t.Errorf("got %v", linked)
	}
	path := customers + "/" + waits + "/sync"
	got = s.do("POST", path, s.machine(), "").data(t)
	if got["looked"] != true || got["changed"] != false || got["reason"] != "not_registered" || got["sentence"] == "" || got["next_look_at"] == nil {
		t.Errorf("nobody has signed up: %v", got)
	}
	s.tenant.ResetCalls()
	again := s.do("POST", path, s.machine(), "").data(t)
	if again["looked"] != false || again["auth0_asked_at"] != got["auth0_asked_at"] || len(s.tenant.Calls()) != 0 {
		t.Errorf("asked again at once: %v, %v", again, s.tenant.Calls())
	}
}

func TestR18ManySyncsAtOnceCostOneLookUp(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.lookedUp("ada@example.com")
	// The replica that is asked is not the one that works.
	other := s.replica()
	s.working()
	other.listening()
	s.tenant.ResetCalls()
	token := other.machine()
	answers := make(chan answer, 20)
	for range cap(answers) {
		go func() { answers <- other.do("POST", customers+"/"+id+"/sync", token, "") }()
	}
	for range cap(answers) {
		if got := (<-answers).data(t); got["reason"] != "not_registered" || got["auth0_asked_at"] == nil {
			t.Errorf("got %v", got)
		}
	}
	ours, others := s.tenant.Calls(), other.tenant.Calls()
	if n := ours[byEmail] + ours[search] + others[byEmail] + others[search]; n != 1 {
		t.Errorf("%d look-ups: %v, %v", n, ours, others)
	}
}

func TestR18SyncsDoNotPutTheNextLookOff(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.lookedUp("ada@example.com")
	before, err := s.store.Explain(t.Context(), customer.ID(id))
	must(t, err)
	s.working()
	s.do("POST", customers+"/"+id+"/sync", s.machine(), "").want(t, 200, "")
	after, err := s.store.Explain(t.Context(), customer.ID(id))
	must(t, err)
	if before.Misses != 1 || after.Misses != 1 || !after.AskedAt.After(before.AskedAt) {
		t.Errorf("%d looks in vain, then %d; asked at %s, then %s", before.Misses, after.Misses, before.AskedAt, after.AskedAt)
	}
}

func TestR18ASyncThatAuth0FailsSaysSo(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.lookedUp("ada@example.com")
	s.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Status: 400}}})
	s.working()
	got := s.do("POST", customers+"/"+id+"/sync", s.machine(), "").data(t)
	if got["looked"] != false || got["reason"] != "auth0_error" || got["auth0_asked_at"] == nil {
		t.Errorf("got %v", got)
	}
}

func TestR18WhoMaySync(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.lookedUp("ada@example.com") // so that nothing is due while calls are counted
	s.working()
	_, eve := s.person("eve@example.com", true)
	s.do("POST", customers+"/"+id+"/sync", eve, "").want(t, 404, "customer_not_found")
	s.do("POST", customers+"/00000000-0000-7000-8000-000000000000/sync", eve, "").want(t, 404, "customer_not_found")
	s.do("POST", customers+"/"+id+"/sync", s.machine("read:customers"), "").want(t, 403, "forbidden")
	s.do("POST", customers+"/"+id+"/sync?x=1", s.machine(), "").want(t, 400, "invalid_query")
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 200, "")
	s.tenant.ResetCalls()
	if got := s.do("POST", customers+"/"+id+"/sync", s.machine(), "").data(t); got["customer_lifecycle"] != "inactive" || got["looked"] != false || len(s.tenant.Calls()) != 0 {
		t.Errorf("a closed customer: %v, %v", got, s.tenant.Calls())
	}
}
