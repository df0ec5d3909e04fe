package store

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// IdleInTransaction is the limit that the server has for the store's connections.
func IdleInTransaction(ctx context.Context, s *Store) (limit string, err error) {
	err = s.db.GetContext(ctx, &limit, `show `+idleInTransaction)
	return limit, err
}

// PingEvery makes Listen try its connection as often.
func PingEvery(s *Store, every time.Duration) { s.ping = every }

// PollEvery makes Listen ask for news as often where LISTEN does not work.
func PollEvery(s *Store, every time.Duration) { s.pollEvery = every }

// News tells of what happened since then, and not a moment before.
func News(ctx context.Context, s *Store, since time.Time) (something bool, err error) {
	_, something, err = s.news(ctx, since.Add(commitWithin))
	return something, err
}

// Watching is how many customers are watched.
func Watching(s *Store) int {
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	return len(s.watchers.of)
}

// Tell tells those who watch a customer.
func Tell(s *Store, id customer.ID) { s.watchers.tell(id) }

// DB is the store's pool.
func DB(s *Store) *sqlx.DB { return s.db }

// Renaming is a name to change in a round with others.
type Renaming struct {
	ID      customer.ID
	Field   customer.Field
	Name    string
	Version int64
}

// RenameTogether does one round, and tells what became of each; "" was left out.
func RenameTogether(ctx context.Context, s *Store, all ...Renaming) (told []string, err error) {
	var round []renaming
	for _, r := range all {
		round = append(round, renaming{r.ID, customer.Patch{Field: r.Field, Value: r.Name}, r.Version, customer.Cause{Kind: customer.ByAPI}})
	}
	done, err := s.renaming.do(ctx, round)
	for _, d := range done {
		switch {
		case d == nil:
			told = append(told, "")
		case d.changed:
			told = append(told, d.now.FirstName+" "+d.now.LastName+" changed")
		default:
			told = append(told, d.now.FirstName+" "+d.now.LastName+" as it was")
		}
	}
	return told, err
}

// MakeTogether does one round, and tells who was made.
func MakeTogether(ctx context.Context, s *Store, cause customer.Cause, drafts ...customer.Draft) (made []bool, err error) {
	var round []making
	for _, d := range drafts {
		round = append(round, making{d, cause})
	}
	return s.making.do(ctx, round)
}

// UnderFence does something within a write that depends on a lease.
func UnderFence(ctx context.Context, s *Store, fence int64, do func() error) error {
	return s.inTx(ctx, "test", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		return do()
	})
}
