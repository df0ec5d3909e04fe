package store

import (
	"context"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"go.uber.org/zap"
)

// channel is what is notified when there is something for the worker to do.
const channel = "customersync_work"

// notify wakes the workers of all replicas when the transaction commits.
func notify(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `select pg_notify('`+channel+`', '')`)
	return err
}

const (
	// listenerPing is how often a quiet LISTEN connection is tried: a dead one says
	// nothing by itself.
	listenerPing = 60 * time.Second
	// listenerRest is how long it may be quiet before it is given up and made anew:
	// a server that is frozen does not answer a ping.
	listenerRest = 2 * listenerPing
	// pollEvery is how often the database is asked for news where LISTEN does not work.
	pollEvery = time.Second
	// commitWithin is how long after its time in a row a change is still looked for:
	// its transaction may not have been committed when it was last asked for.
	commitWithin = 2 * time.Second
)

// Listen calls wake whenever there may be something to do, until ctx ends. It is
// a help, not the truth: what is notified while the connection is down is lost,
// so wake is called whenever a connection stands too, and workers look by
// themselves. wake may be called by two goroutines at once.
// The same connection serves all who Watch a customer. Behind PgBouncer there is
// none: once a second the database is asked for news, and watchers look for themselves.
func (s *Store) Listen(ctx context.Context, wake func()) {
	if s.listen == nil {
		s.poll(ctx, wake)
		return
	}
	listener := s.listen(ctx)
	var calls sync.WaitGroup
	calls.Go(func() { s.subscribe(ctx, listener, wake) })
	s.relay(ctx, listener, &calls, wake)
	// Calls hold the lock that Close needs while they wait for the server. They come
	// back, since the dialer has closed the connection.
	_ = listener.Close() // it is of no further use
	calls.Wait()
	go func() { // it may rest between two tries to connect, which is not worth waiting for
		for range listener.Notify { // emptied, so that it ends
		}
	}()
}

// subscribe returns once the first connection stands and listens. What happened
// before was told to nobody.
func (s *Store) subscribe(ctx context.Context, listener *pq.Listener, wake func()) {
	for _, name := range []string{watchChannel, channel} {
		if err := listener.Listen(name); err != nil && ctx.Err() == nil {
			s.log.Warn("listen; work is found by polling", zap.Error(translate(err)))
		}
	}
	s.pass(nil, wake)
}

// relay passes notifications on until ctx ends.
func (s *Store) relay(ctx context.Context, listener *pq.Listener, calls *sync.WaitGroup, wake func()) {
	ping := time.NewTicker(s.ping)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-listener.Notify: // also after each reconnect, with nil
			s.pass(n, wake)
		case <-ping.C:
			calls.Go(func() { _ = listener.Ping() }) // its failure makes the listener reconnect
		}
	}
}

// poll stands in for LISTEN where there is none.
func (s *Store) poll(ctx context.Context, wake func()) {
	tick := time.NewTicker(s.pollEvery)
	defer tick.Stop()
	var seen time.Time // zero: there is no telling what was missed
	for {
		now, something, err := s.news(ctx, seen)
		switch {
		case err == nil && (seen.IsZero() || something):
			wake()
		case err != nil && !seen.IsZero() && ctx.Err() == nil: // once, not each second that it lasts
			s.log.Warn("ask for news; work is found by the schedule", zap.Error(err))
		}
		seen = now
		s.watchers.tellAll()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// news tells whether there is something for the worker to do that notify told of
// since then, on the database's clock. A customer whose time has come is no news: the
// worker's schedule looks at many of those together.
func (s *Store) news(ctx context.Context, since time.Time) (now time.Time, something bool, err error) {
	var answer struct {
		Now       time.Time `db:"now"`
		Something bool      `db:"something"`
	}
	err = s.read(ctx, "ask for news", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &answer, `
			select now() as now, coalesce((
			    select received_at
			    from inbox
			    where state = 'new'
			    order by id desc
			    limit 1) > $1, false)
			  or exists (
			    select from customers
			    where next_check_at > $1 and next_check_at <= now()
			      and (hint_auth_user_id is not null or `+looking+` or version > 1 and updated_at > $1)) as something`,
			since.Add(-commitWithin))
	})
	return answer.Now, answer.Something, err
}
