package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// Follow takes in what a lane brought and moves its cursor, both or neither. It
// returns which of the deliveries were not in the inbox yet. customer.ErrLeaseLost
// if the lease was taken over.
func (s *Store) Follow(ctx context.Context, fence int64, lane string, deliveries []customer.Delivery, cursor string) (fresh []bool, err error) {
	err = s.inTx(ctx, "follow "+lane, func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		var err error
		if fresh, err = s.receive(ctx, tx, deliveries); err != nil {
			return err
		}
		return moveCursor(ctx, tx, lane, cursor)
	})
	return fresh, err
}

func moveCursor(ctx context.Context, tx *sqlx.Tx, lane, cursor string) error {
	_, err := tx.ExecContext(ctx, `
		insert into lanes (name, cursor)
		values ($1, $2)
		on conflict (name) do update
		set cursor = excluded.cursor, moved_at = clock_timestamp()`, lane, cursor)
	return err
}

// Cursor returns how far a lane has come, and since when; "" if it has to start
// with what comes next.
func (s *Store) Cursor(ctx context.Context, lane string) (cursor string, moved time.Time, err error) {
	err = s.read(ctx, "read cursor", func(ctx context.Context) error {
		err := s.db.QueryRowContext(ctx, `select cursor, moved_at from lanes where name = $1`, lane).Scan(&cursor, &moved)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return cursor, moved.UTC(), err
}

// AnyPending reports whether any customer is auth_pending.
func (s *Store) AnyPending(ctx context.Context) (waiting bool, err error) {
	err = s.read(ctx, "ask who waits", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &waiting, `select exists (select from customers where reason is not null)`)
	})
	return waiting, err
}

// NoteGap says that a lane starts with what comes next, and that what happened
// before was missed. Where there are no customers there was nothing to miss.
func (s *Store) NoteGap(ctx context.Context, fence int64, lane string) error {
	return s.inTx(ctx, "note gap", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		if err := moveCursor(ctx, tx, lane, ""); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			update lanes
			set gap_at = clock_timestamp()
			where name = $1 and exists (select from customers)`, lane)
		return err
	})
}

// Owed reports whether a full reconcile is owed: a lane missed something, and none
// that began at since, or later, has made up for it.
func (s *Store) Owed(ctx context.Context, since time.Time) (owed bool, err error) {
	err = s.read(ctx, "ask for gaps", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &owed, `select exists (select from lanes where gap_at >= $1)`, since)
	})
	return owed, err
}

// SettleGaps says that a full reconcile that began at a time made up for what was
// missed before.
func (s *Store) SettleGaps(ctx context.Context, fence int64, began time.Time) error {
	return s.inTx(ctx, "settle gaps", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `update lanes set gap_at = null where gap_at < $1`, began)
		return err
	})
}

// lanes reads the lanes that were followed, by name.
func lanes(ctx context.Context, tx *sqlx.Tx) ([]customer.Lane, error) {
	var rows []struct {
		Name  string       `db:"name"`
		Moved time.Time    `db:"moved_at"`
		Gap   sql.NullTime `db:"gap_at"`
	}
	err := tx.SelectContext(ctx, &rows, `select name, moved_at, gap_at from lanes order by name`)
	all := make([]customer.Lane, len(rows))
	for i, r := range rows {
		all[i] = customer.Lane{Name: r.Name, Moved: r.Moved.UTC(), Gap: utc(r.Gap)}
	}
	return all, err
}
