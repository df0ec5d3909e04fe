package auth0sync_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

const (
	ada  = customer.ID("0198c0de-0000-7000-8000-00000000000a")
	bob  = customer.ID("0198c0de-0000-7000-8000-00000000000b")
	none = customer.ID("")
)

// pending is a customer that waits, with or without an address.
func pending(t interface{ Fatal(...any) }, address string) customer.Customer {
	c := customer.Customer{ID: ada, Lifecycle: customer.AuthPending}
	if address != "" {
		email, err := customer.ParseEmail(address)
		if err != nil {
			t.Fatal(err)
		}
		c.Email = email
	}
	return c
}

// user is a linkable user of ada@example.com, but for the changes.
func user(id string, changes ...func(*auth0sync.User)) auth0sync.User {
	u := auth0sync.User{
		ID: id, Email: "ada@example.com", EmailVerified: true,
		Identities: []auth0sync.Identity{{Provider: "auth0", Connection: "db"}},
		UpdatedAt:  time.Unix(1000, 0), SeenAt: time.Unix(2000, 0),
	}
	for _, change := range changes {
		change(&u)
	}
	return u
}

func unverified(u *auth0sync.User) { u.EmailVerified = false }
func blocked(u *auth0sync.User)    { u.Blocked = true }
func otherEmail(u *auth0sync.User) { u.Email = "other@example.com" }
func capitals(u *auth0sync.User)   { u.Email = "ADA@Example.com" }
func kelvin(u *auth0sync.User)     { u.Email = "ad\u212A@example.com" }
func namesAda(u *auth0sync.User)   { u.CustomerID = ada }
func namesBob(u *auth0sync.User)   { u.CustomerID = bob }
func noIdentity(u *auth0sync.User) { u.Identities = nil }
func from(provider string) func(*auth0sync.User) {
	return func(u *auth0sync.User) {
		u.Identities = []auth0sync.Identity{{Provider: provider, Connection: provider}}
	}
}
func linkedTo(provider string) func(*auth0sync.User) {
	return func(u *auth0sync.User) {
		u.Identities = append(u.Identities, auth0sync.Identity{Provider: provider, Connection: provider})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		address string
		found   []auth0sync.User
		world   customer.World
		policy  auth0sync.Policy
		want    string // the user linked, or the reason
	}{
		"nobody":                                    {"ada@example.com", nil, customer.World{}, auth0sync.Policy{}, "not_registered"},
		"the one user with the verified address":    {"ada@example.com", []auth0sync.User{user("auth0|1")}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"case of letters does not matter":           {"Ada@example.com", []auth0sync.User{user("auth0|1", capitals)}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"KELVIN SIGN is another letter":             {"adk@example.com", []auth0sync.User{user("auth0|1", kelvin)}, customer.World{}, auth0sync.Policy{}, "not_registered"},
		"another address":                           {"ada@example.com", []auth0sync.User{user("auth0|1", otherEmail)}, customer.World{}, auth0sync.Policy{}, "not_registered"},
		"an unverified address":                     {"ada@example.com", []auth0sync.User{user("auth0|1", unverified)}, customer.World{}, auth0sync.Policy{}, "email_unverified"},
		"an untrusted provider":                     {"ada@example.com", []auth0sync.User{user("samlp|1", from("samlp"))}, customer.World{}, auth0sync.Policy{}, "connection_not_trusted"},
		"no identity at all":                        {"ada@example.com", []auth0sync.User{user("auth0|1", noIdentity)}, customer.World{}, auth0sync.Policy{}, "connection_not_trusted"},
		"a trusted identity beside an untrusted":    {"ada@example.com", []auth0sync.User{user("samlp|1", from("samlp"), linkedTo("google-oauth2"))}, customer.World{}, auth0sync.Policy{}, "samlp|1"},
		"a provider that the operator trusts":       {"ada@example.com", []auth0sync.User{user("samlp|1", from("samlp"))}, customer.World{}, auth0sync.Policy{TrustedProviders: []string{"samlp"}}, "samlp|1"},
		"a provider trusted by default no more":     {"ada@example.com", []auth0sync.User{user("auth0|1")}, customer.World{}, auth0sync.Policy{TrustedProviders: []string{"samlp"}}, "connection_not_trusted"},
		"a blocked user":                            {"ada@example.com", []auth0sync.User{user("auth0|1", blocked)}, customer.World{}, auth0sync.Policy{}, "user_blocked"},
		"a user on another live customer":           {"ada@example.com", []auth0sync.User{user("auth0|1")}, customer.World{UserHolder: map[string]customer.ID{"auth0|1": bob}}, auth0sync.Policy{}, "user_taken"},
		"a user named for another live customer":    {"ada@example.com", []auth0sync.User{user("auth0|1", namesBob)}, customer.World{Live: map[customer.ID]bool{bob: true}}, auth0sync.Policy{}, "user_taken"},
		"a user named for a closed customer":        {"ada@example.com", []auth0sync.User{user("auth0|1", namesBob)}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"two linkable users":                        {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2")}, customer.World{}, auth0sync.Policy{}, "several_users"},
		"the same user seen twice":                  {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|1")}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"look-alikes do not block":                  {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2", unverified), user("samlp|3", from("samlp")), user("auth0|4", blocked)}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"two users and a priority":                  {"ada@example.com", []auth0sync.User{user("auth0|1"), user("google-oauth2|2", from("google-oauth2"))}, customer.World{}, auth0sync.Policy{ConnectionPriority: []string{"google-oauth2", "db"}}, "google-oauth2|2"},
		"a priority that both have":                 {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2")}, customer.World{}, auth0sync.Policy{ConnectionPriority: []string{"db"}}, "several_users"},
		"a priority that neither has":               {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2")}, customer.World{}, auth0sync.Policy{ConnectionPriority: []string{"apple"}}, "several_users"},
		"no address":                                {"", []auth0sync.User{user("auth0|1")}, customer.World{}, auth0sync.Policy{}, "email_missing"},
		"an address outside ASCII":                  {"ädä@example.com", nil, customer.World{}, auth0sync.Policy{}, "email_unmatchable"},
		"named, without an address":                 {"", []auth0sync.User{user("auth0|1", namesAda, unverified)}, customer.World{}, auth0sync.Policy{}, "auth0|1"},
		"named beats matched":                       {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2", namesAda, otherEmail)}, customer.World{}, auth0sync.Policy{}, "auth0|2"},
		"named but blocked":                         {"", []auth0sync.User{user("auth0|1", namesAda, blocked)}, customer.World{}, auth0sync.Policy{}, "user_blocked"},
		"named but taken":                           {"", []auth0sync.User{user("auth0|1", namesAda)}, customer.World{UserHolder: map[string]customer.ID{"auth0|1": bob}}, auth0sync.Policy{}, "user_taken"},
		"named twice":                               {"", []auth0sync.User{user("auth0|1", namesAda), user("auth0|2", namesAda)}, customer.World{}, auth0sync.Policy{}, "several_users"},
		"an observation older than what was seen":   {"ada@example.com", []auth0sync.User{user("auth0|1")}, customer.World{Newest: map[string]customer.Seen{"auth0|1": {UpdatedAt: time.Unix(1001, 0)}}}, auth0sync.Policy{}, "not_registered"},
		"an outdated rival":                         {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2")}, seenLater("auth0|2"), auth0sync.Policy{}, "several_users"},
		"an outdated rival that names the customer": {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2", namesAda)}, seenLater("auth0|2"), auth0sync.Policy{}, "several_users"},
		"an outdated look-alike":                    {"ada@example.com", []auth0sync.User{user("auth0|1"), user("auth0|2", unverified)}, seenLater("auth0|2"), auth0sync.Policy{}, "auth0|1"},
		"an outdated rival of lower priority":       {"ada@example.com", []auth0sync.User{user("auth0|1"), user("google-oauth2|2", from("google-oauth2"))}, seenLater("google-oauth2|2"), auth0sync.Policy{ConnectionPriority: []string{"db"}}, "auth0|1"},
		"an outdated rival of higher priority":      {"ada@example.com", []auth0sync.User{user("auth0|1"), user("google-oauth2|2", from("google-oauth2"))}, seenLater("google-oauth2|2"), auth0sync.Policy{ConnectionPriority: []string{"google-oauth2"}}, "several_users"},
		"as old as what was seen":                   {"ada@example.com", []auth0sync.User{user("auth0|1")}, customer.World{Newest: map[string]customer.Seen{"auth0|1": {UpdatedAt: time.Unix(1000, 0), SeenAt: time.Unix(2000, 0)}}}, auth0sync.Policy{}, "auth0|1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := said(test.policy.Decide(pending(t, test.address), test.found, test.world)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// seenLater is a world in which a newer state of the user was applied.
func seenLater(user string) customer.World {
	return customer.World{Newest: map[string]customer.Seen{user: {UpdatedAt: time.Unix(1001, 0)}}}
}

func said(v auth0sync.Verdict) string {
	if v.Link != nil {
		return v.Link.AuthUserID
	}
	return string(v.Reason)
}

func TestSupportIsToldTheNearestMiss(t *testing.T) {
	t.Parallel()
	order := []auth0sync.User{
		user("samlp|1", from("samlp")), user("auth0|2", unverified), user("auth0|3", blocked), user("auth0|4"),
	}
	world := customer.World{UserHolder: map[string]customer.ID{"auth0|4": bob}}
	want := []string{"connection_not_trusted", "email_unverified", "user_blocked", "user_taken"}
	for i := range order {
		found := slices.Clone(order[:i+1])
		slices.Reverse(found)
		if got := said(auth0sync.Policy{}.Decide(pending(t, "ada@example.com"), found, world)); got != want[i] {
			t.Errorf("%s, want %s", got, want[i])
		}
	}
}

func TestAFilledInAddressIsVerifiedAndFree(t *testing.T) {
	t.Parallel()
	taken := customer.World{EmailHolder: map[customer.EmailKey]customer.ID{"ada@example.com": bob}}
	for name, test := range map[string]struct {
		user  auth0sync.User
		world customer.World
		want  customer.EmailKey
	}{
		"verified":    {user("auth0|1"), customer.World{}, "ada@example.com"},
		"unverified":  {user("auth0|1", unverified), customer.World{}, ""},
		"blocked":     {user("auth0|1", blocked), customer.World{}, ""},
		"taken":       {user("auth0|1"), taken, ""},
		"no address":  {user("auth0|1", func(u *auth0sync.User) { u.Email = "" }), customer.World{}, ""},
		"unmatchable": {user("auth0|1", func(u *auth0sync.User) { u.Email = "zoë@example.com" }), customer.World{}, ""},
	} {
		if got := auth0sync.FillFrom(test.user, test.world); got.Key != test.want {
			t.Errorf("%s: %q", name, got.Key)
		}
	}
}

// drawUsers makes a few users, some of them several observations of one.
func drawUsers(t *rapid.T) []auth0sync.User {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) auth0sync.User {
		u := user(fmt.Sprintf("auth0|%d", rapid.IntRange(1, 4).Draw(t, "id")))
		u.Email = rapid.SampledFrom([]string{"ada@example.com", "ADA@EXAMPLE.COM", "other@example.com", "", "ad\u212A@example.com"}).Draw(t, "email")
		u.EmailVerified = rapid.Bool().Draw(t, "verified")
		u.Blocked = rapid.Bool().Draw(t, "blocked")
		u.CustomerID = rapid.SampledFrom([]customer.ID{none, none, ada, bob}).Draw(t, "named")
		u.Identities[0].Provider = rapid.SampledFrom([]string{"auth0", "samlp", "google-oauth2"}).Draw(t, "provider")
		u.UpdatedAt = time.Unix(rapid.Int64Range(1, 3).Draw(t, "updated"), 0)
		return u
	}), 0, 6).Draw(t, "users")
}

func drawWorld(t *rapid.T) customer.World {
	w := customer.World{UserHolder: map[string]customer.ID{}, Live: map[customer.ID]bool{bob: rapid.Bool().Draw(t, "bob lives")}}
	for i := range 4 {
		if rapid.IntRange(0, 3).Draw(t, "taken") == 0 {
			w.UserHolder[fmt.Sprintf("auth0|%d", i+1)] = bob
		}
	}
	return w
}

func TestOrderAndRepetitionOfObservationsDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		found, world := drawUsers(t), drawWorld(t)
		for i := range found { // one state for each user and time: observations do not contradict each other
			for _, other := range found[:i] {
				if other.ID == found[i].ID && other.UpdatedAt.Equal(found[i].UpdatedAt) {
					found[i] = other
				}
			}
		}
		c := pending(t, "ada@example.com")
		want := auth0sync.Policy{}.Decide(c, found, world)
		shuffled := rapid.Permutation(append(slices.Clone(found), found...)).Draw(t, "shuffled")
		if diff := cmp.Diff(want, auth0sync.Policy{}.Decide(c, shuffled, world)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNobodyIsEverLinkedWhoMustNotBe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		found, world := drawUsers(t), drawWorld(t)
		v := auth0sync.Policy{}.Decide(pending(t, "ada@example.com"), found, world)
		if v.Link == nil {
			if v.Reason == "" {
				t.Error("neither a link nor a reason")
			}
			return
		}
		var newest auth0sync.User
		for _, u := range found {
			if u.ID == v.Link.AuthUserID && !u.UpdatedAt.Before(newest.UpdatedAt) {
				if newest.ID == "" || u.UpdatedAt.After(newest.UpdatedAt) {
					newest = u
				}
			}
		}
		named := newest.CustomerID == ada
		matched := newest.EmailVerified && (newest.Email == "ada@example.com" || newest.Email == "ADA@EXAMPLE.COM") &&
			newest.Identities[0].Provider != "samlp"
		if newest.Blocked || world.UserHolder[newest.ID] == bob || !named && !matched {
			t.Errorf("linked %+v", newest)
		}
	})
}

// A user that does not tell when it changed may have changed just now.
func TestAUserWithoutATimeIsFresh(t *testing.T) {
	t.Parallel()
	u := user("auth0|1", func(u *auth0sync.User) { u.UpdatedAt = time.Time{} })
	if !u.Fresh() || u.SettledAt().Sub(u.SeenAt) != auth0sync.SearchLag {
		t.Errorf("fresh %t, settled at %s, seen at %s", u.Fresh(), u.SettledAt(), u.SeenAt)
	}
}

func BenchmarkDecide(b *testing.B) {
	c := pending(b, "ada@example.com")
	found := []auth0sync.User{user("auth0|1"), user("auth0|2", unverified), user("google-oauth2|3", otherEmail)}
	world := customer.World{}
	b.ReportAllocs()
	for b.Loop() {
		if verdict := (auth0sync.Policy{}).Decide(c, found, world); verdict.Link == nil {
			b.Fatal(verdict)
		}
	}
}
