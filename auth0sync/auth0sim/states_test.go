package auth0sim

import (
	"testing"
	"time"
)

func TestStatesAreWhatUsersWere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep bool
		want int
	}{"kept": {true, 4}, "as search needs them": {false, 2}} {
		now := newClock()
		tenant := New(Options{KeepStates: c.keep, Now: now.now})
		t.Cleanup(tenant.Close)
		u, err := tenant.SignUp(SignUp{Email: "ada@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(string) error{
			tenant.Verify, func(id string) error { return tenant.Block(id, true) }, tenant.Delete,
		} {
			tenant.Advance(time.Minute)
			if err := change(u.ID); err != nil {
				t.Fatal(err)
			}
		}
		states := tenant.States()
		if len(states) != c.want {
			t.Fatalf("%s: %d states: %+v", name, len(states), states)
		}
		if last := states[len(states)-1]; !last.Gone || !last.From.Equal(now.now().Add(3*time.Minute)) {
			t.Errorf("%s: the last state is %+v", name, last)
		}
		if c.keep && (states[0].User.EmailVerified || !states[1].User.EmailVerified || states[1].User.Blocked || !states[2].User.Blocked) {
			t.Errorf("%+v", states)
		}
	}
}
