package store_test

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// What was done although its answer got lost is neither done over what came after
// it, nor refused because it was done.
func TestAChangeWhoseAnswerGotLostIsMadeOnce(t *testing.T) {
	t.Parallel()
	name := customer.Patch{Field: customer.FieldFirstName, Value: "Grace", Seen: 1}
	user := customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|1", Seen: 1}
	patch := func(p customer.Patch, ifVersion int64) func(*testing.T, *store.Store, customer.ID) error {
		return func(t *testing.T, s *store.Store, id customer.ID) error {
			_, err := s.Patch(t.Context(), id, p, ifVersion, byTest())
			return err
		}
	}
	bob := patch(customer.Patch{Field: customer.FieldFirstName, Value: "Bob"}, 0)
	for what, c := range map[string]struct {
		do, then func(*testing.T, *store.Store, customer.ID) error
		version  int64
	}{
		"a rename":            {patch(name, 0), bob, 3},
		"a rename of a state": {patch(name, 1), bob, 3},
		"a link":              {patch(user, 0), patch(customer.Patch{Field: customer.FieldAuthUserID}, 0), 3},
		"a link of a state":   {patch(user, 1), bob, 3},
		"a closing of a state": {func(t *testing.T, s *store.Store, id customer.ID) error {
			return s.CloseCustomer(t.Context(), id, 1, byTest())
		}, nil, 2},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dsn := storetest.DSN(t)
			s := open(t, dsn)
			id := create(t, s, "ada@example.com")
			var lost atomic.Bool
			far := open(t, losing(t, dsn, func() bool {
				if lost.Load() || get(t, s, id).Version < 2 {
					return false
				}
				lost.Store(true)
				if c.then != nil {
					must(t, c.then(t, s, id))
				}
				return true
			}))
			if err := c.do(t, far, id); err != nil {
				t.Errorf("it was done, and is answered with %v", err)
			}
			if got := get(t, s, id); !lost.Load() || got.Version != c.version || c.version == 3 && got.FirstName == "Grace" {
				t.Errorf("lost %v, then %+v", lost.Load(), got)
			}
		})
	}
}

// losing is a way to a database that breaks, instead of passing on what the server
// says, when lose says so.
func losing(t testing.TB, dsn string, lose func() bool) (through string) {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	socket := filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.Close()
			}()
			go func() {
				_, _ = io.Copy(loser{client, lose}, server)
				_ = client.Close()
			}()
		}
	}()
	u.Host, u.RawQuery = listener.Addr().String(), "sslmode=disable"
	return u.String()
}

type loser struct {
	io.Writer
	lose func() bool
}

// Write implements io.Writer.
func (l loser) Write(b []byte) (int, error) {
	if l.lose() {
		return 0, io.ErrClosedPipe
	}
	return l.Writer.Write(b)
}
