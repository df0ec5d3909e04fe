package worker_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker"
)

// lanesOnly is a store in which nothing happens but lanes, so that hours of
// following pass in no time: a real one would make the test's clock stand still.
type lanesOnly struct {
	worker.Store
	mu      sync.Mutex
	cursors map[string]string
	pending bool
	taken   bool // another has the lease
	owed    bool // a full reconcile is
	runs    int
}

func (*lanesOnly) Release(context.Context, int64) error   { return nil }
func (*lanesOnly) Idle(context.Context) (bool, error)     { return true, nil }
func (*lanesOnly) Now(context.Context) (time.Time, error) { return time.Now(), nil }
func (*lanesOnly) ExportJob(context.Context, time.Duration) (job string, made time.Time, err error) {
	return "", time.Time{}, nil
}
func (s *lanesOnly) Owed(context.Context, time.Time) (bool, error) { return s.owed, nil }
func (s *lanesOnly) StartRun(context.Context, customer.Run, int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	return int64(s.runs), nil
}
func (*lanesOnly) FinishRun(context.Context, int64, customer.Run) error { return nil }

func (*lanesOnly) LastRuns(context.Context) ([]customer.LastRuns, error) { return nil, nil }

// SoughtCustomers lets a full reconcile fail before it asks Auth0 anything.
func (*lanesOnly) SoughtCustomers(context.Context, customer.ID, int) ([]customer.Sought, error) {
	return nil, customer.ErrUnavailable
}

func (*lanesOnly) LinkedCustomers(context.Context, customer.ID, int) ([]customer.Linked, error) {
	return nil, customer.ErrUnavailable
}

func (*lanesOnly) Listen(ctx context.Context, _ func()) { <-ctx.Done() }

func (s *lanesOnly) Acquire(context.Context, customer.LeaseName, string, time.Duration) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		return 0, customer.ErrLeaseHeld
	}
	return 1, nil
}

func (s *lanesOnly) Renew(context.Context, int64, time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		return customer.ErrLeaseLost
	}
	return nil
}

func (s *lanesOnly) AnyPending(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending, nil
}

func (s *lanesOnly) Cursor(_ context.Context, lane string) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[lane], time.Now(), nil
}

func (s *lanesOnly) Follow(_ context.Context, _ int64, lane string, _ []customer.Delivery, cursor string) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[lane] = cursor
	return nil, nil
}

func (s *lanesOnly) NoteGap(_ context.Context, _ int64, lane string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[lane] = ""
	return nil
}

// refusing is an Auth0 whose feed has one answer, and whose log is empty.
type refusing struct {
	worker.Directory
	feed func(yield func(auth0sync.FeedItem, error) bool)

	mu    sync.Mutex
	feeds []time.Time // when each was asked for
	logs  []time.Time
}

func (d *refusing) Feed(context.Context, string) iter.Seq2[auth0sync.FeedItem, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feeds = append(d.feeds, time.Now())
	return d.feed
}

func (d *refusing) Logs(context.Context, string) (auth0sync.LogPage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logs = append(d.logs, time.Now())
	return auth0sync.LogPage{Cursor: "9001"}, nil
}

// endless is an Auth0 whose feed does not end by itself.
type endless struct {
	worker.Directory
	mu        sync.Mutex
	connected int
}

func (d *endless) connect(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.connected += n
}

func (d *endless) connections() int {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected
}

func (d *endless) Feed(ctx context.Context, _ string) iter.Seq2[auth0sync.FeedItem, error] {
	return func(yield func(auth0sync.FeedItem, error) bool) {
		d.connect(1)
		defer d.connect(-1)
		if yield(auth0sync.FeedItem{}, nil) && yield(auth0sync.FeedItem{Cursor: "o1"}, nil) {
			<-ctx.Done()
			yield(auth0sync.FeedItem{}, ctx.Err())
		}
	}
}

// asked counts the questions of the last d.
func asked(times []time.Time, d time.Duration) (n int) {
	for _, at := range times {
		if time.Since(at) < d {
			n++
		}
	}
	return n
}

// follow lets a worker follow for so long.
func follow(t *testing.T, what string, s *lanesOnly, d *refusing, long time.Duration) {
	t.Helper()
	stop := start(t, what, s, d)
	time.Sleep(long)
	stop()
}

// start lets a worker follow until stop, which it does at once.
func start(t *testing.T, what string, s *lanesOnly, d worker.Directory) (stop func()) {
	t.Helper()
	w, err := worker.New(worker.Config{
		Schedule: "@every 1h", Follow: what, Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry(),
	}, s, d, nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		must(t, <-ended)
	}
}

// Whatever Auth0 does, it is not asked in a hurry, and asked again.
func TestAFeedOfNoUseIsAskedForNowAndThen(t *testing.T) {
	t.Parallel()
	fails := func(err error) func(func(auth0sync.FeedItem, error) bool) {
		return func(yield func(auth0sync.FeedItem, error) bool) { yield(auth0sync.FeedItem{}, err) }
	}
	for name, test := range map[string]struct {
		feed        func(func(auth0sync.FeedItem, error) bool)
		least, most int // questions in an hour, when it has gone on for long
	}{
		"down":                  {fails(auth0sync.ErrUnavailable), 60, 120},
		"ends at once":          {func(func(auth0sync.FeedItem, error) bool) {}, 60, 120},
		"ends after connecting": {func(yield func(auth0sync.FeedItem, error) bool) { yield(auth0sync.FeedItem{}, nil) }, 60, 120},
		"fails after connecting": {func(yield func(auth0sync.FeedItem, error) bool) {
			_ = yield(auth0sync.FeedItem{}, nil) && yield(auth0sync.FeedItem{}, auth0sync.ErrUnavailable)
		}, 60, 120},
		"never knows a cursor": {fails(auth0sync.ErrCursor), 60, 120},
		"panics":               {func(func(auth0sync.FeedItem, error) bool) { panic("a fault of ours") }, 60, 120},
		"too many connections": {fails(auth0sync.ErrRateLimited), 60, 120},
		"asks for patience":    {fails(&auth0sync.LaterError{After: 20 * time.Minute, Err: auth0sync.ErrRateLimited}), 3, 3},
		"is not in the plan":   {fails(auth0sync.ErrForbidden), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, d := &lanesOnly{cursors: map[string]string{}}, &refusing{feed: test.feed}
				follow(t, worker.FollowEvents, s, d, 10*time.Hour+time.Minute)
				if n := asked(d.feeds, time.Hour); n < test.least || n > test.most {
					t.Errorf("asked %d times in an hour", n)
				}
				if len(d.logs) > 0 {
					t.Error("the logs were read though events alone were asked for")
				}
			})
		})
	}
}

// A connection that has lasted is followed by the next at once.
func TestAConnectionThatLastedIsFollowedByTheNextAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s, d := &lanesOnly{cursors: map[string]string{}}, &refusing{}
		d.feed = func(yield func(auth0sync.FeedItem, error) bool) {
			yield(auth0sync.FeedItem{}, nil)
			time.Sleep(5 * time.Minute)
			n++
			yield(auth0sync.FeedItem{Cursor: fmt.Sprint(n)}, nil)
		}
		follow(t, worker.FollowEvents, s, d, time.Hour+time.Second)
		if len(d.feeds) != 13 {
			t.Errorf("%d connections in an hour", len(d.feeds))
		}
	})
}

// Where there is no feed the logs are read, and the feed is tried again.
func TestTheLogsStandInForAFeedThatIsNotToBeHad(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"not in the plan":             auth0sync.ErrForbidden,
		"others have its connections": auth0sync.ErrRateLimited,
	} {
		for pending, most := range map[bool]int{true: 130, false: 8} {
			t.Run(fmt.Sprintf("%s, somebody waits: %t", name, pending), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s, d := &lanesOnly{cursors: map[string]string{}, pending: pending}, &refusing{}
					d.feed = func(yield func(auth0sync.FeedItem, error) bool) { yield(auth0sync.FeedItem{}, refusal) }
					follow(t, worker.FollowAuto, s, d, 10*time.Hour+time.Minute)
					if n := asked(d.logs, time.Hour); n < most/3 || n > most {
						t.Errorf("read the logs %d times in an hour", n)
					}
					if n := len(d.feeds); n < 7 || n > 90 {
						t.Errorf("tried the feed %d times in ten hours", n)
					}
				})
			})
		}
	}
}

// The log is read soon after somebody begins to wait.
func TestWhoBeginsToWaitIsNotKeptWaitingForTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := &lanesOnly{cursors: map[string]string{}}, &refusing{}
		began := make(chan time.Time, 1)
		time.AfterFunc(time.Minute, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pending = true
			began <- time.Now()
		})
		follow(t, worker.FollowLogs, s, d, 3*time.Minute)
		for since := <-began; len(d.logs) > 0; d.logs = d.logs[1:] {
			if after := d.logs[0].Sub(since); after >= 0 && after <= 30*time.Second {
				return
			}
		}
		t.Error("the log was not read within half a minute")
	})
}

// Whoever lost the lease lets go of its connection, which the plan may have but
// one of, and takes it up again when the lease is free.
func TestWhoLostTheLeaseLetsGoOfTheFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := &lanesOnly{cursors: map[string]string{}}, &endless{}
		stop := start(t, worker.FollowAuto, s, d)
		take := func(taken bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.taken = taken
		}
		for _, step := range []struct {
			taken bool
			after time.Duration
			want  int
		}{{false, time.Hour, 1}, {true, 6 * time.Second, 0}, {true, time.Hour, 0}, {false, 16 * time.Second, 1}} {
			take(step.taken)
			time.Sleep(step.after)
			if n := d.connections(); n != step.want {
				t.Errorf("%+v: %d connections", step, n)
			}
		}
		began := time.Now()
		stop()
		if d.connections() != 0 || time.Since(began) > 0 {
			t.Errorf("%d connections, stopped within %s", d.connections(), time.Since(began))
		}
	})
}

// A full reconcile costs many calls: one that fails is not tried again at once,
// however long it is owed.
func TestAFullReconcileThatFailsIsLetBeForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &lanesOnly{cursors: map[string]string{}, owed: true}
		follow(t, worker.FollowOff, s, &refusing{}, 2*time.Hour)
		if s.runs < 6 || s.runs > 9 {
			t.Errorf("%d tries in two hours", s.runs)
		}
	})
}
