package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// StartRun records that a run began. Runs that never ended though nobody has
// their lease any more are marked aborted: whoever made them was killed.
func (s *Store) StartRun(ctx context.Context, kind string, fence int64) (id int64, err error) {
	err = s.inTx(ctx, "record run", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			update runs
			set ended_at = clock_timestamp(), result = 'aborted', note = 'the process ended without a word'
			where ended_at is null and fence not in (
			  select fence from leases where expires_at > clock_timestamp())`); err != nil {
			return err
		}
		return tx.GetContext(ctx, &id, `
			insert into runs (kind, fence)
			values ($1, $2)
			returning id`, kind, fence)
	})
	return id, err
}

// FinishRun records how a run ended.
func (s *Store) FinishRun(ctx context.Context, id int64, r customer.Run) error {
	return s.read(ctx, "record run", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			update runs
			set ended_at = clock_timestamp(), result = $2, looked = $3, linked = $4, unlinked = $5, filled = $6,
			  conflicts = $7, errors = $8, auth0_calls = $9, budget_wait_ms = $10, note = $11, rebound = $12, lane = $13
			where id = $1 and ended_at is null`,
			id, string(r.Result), r.Looked, r.Linked, r.Unlinked, r.Filled,
			r.Conflicts, r.Errors, r.Auth0Calls, r.BudgetWait.Milliseconds(), r.Note, r.Rebound, r.Lane)
		return err
	})
}

// runRow is the record of a run as the table holds it.
type runRow struct {
	ID         int64          `db:"id"`
	Kind       string         `db:"kind"`
	Started    time.Time      `db:"started_at"`
	Ended      sql.NullTime   `db:"ended_at"`
	Result     sql.NullString `db:"result"`
	Looked     int            `db:"looked"`
	Linked     int            `db:"linked"`
	Unlinked   int            `db:"unlinked"`
	Rebound    int            `db:"rebound"`
	Filled     int            `db:"filled"`
	Conflicts  int            `db:"conflicts"`
	Errors     int            `db:"errors"`
	Auth0Calls int            `db:"auth0_calls"`
	WaitMS     int64          `db:"budget_wait_ms"`
	Note       string         `db:"note"`
	Lane       string         `db:"lane"`
}

const runColumns = `id, kind, started_at, ended_at, result, looked, linked, unlinked, rebound, filled, conflicts, errors,
  auth0_calls, budget_wait_ms, note, lane`

func (r runRow) run() customer.Run {
	return customer.Run{
		ID: r.ID, Kind: r.Kind, Started: r.Started.UTC(), Ended: utc(r.Ended), Result: customer.RunResult(r.Result.String),
		Tally: customer.Tally{
			Looked: r.Looked, Linked: r.Linked, Unlinked: r.Unlinked, Rebound: r.Rebound, Filled: r.Filled,
			Conflicts: r.Conflicts, Errors: r.Errors, Auth0Calls: r.Auth0Calls,
		},
		BudgetWait: time.Duration(r.WaitMS) * time.Millisecond,
		Note:       r.Note,
		Lane:       r.Lane,
	}
}

// DropRun forgets a run that came to nothing.
func (s *Store) DropRun(ctx context.Context, id int64) error {
	return s.read(ctx, "forget run", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `delete from runs where id = $1 and ended_at is null`, id)
		return err
	})
}

// Runs returns the newest runs, newest first.
func (s *Store) Runs(ctx context.Context, limit int) ([]customer.Run, error) {
	var rows []runRow
	err := s.read(ctx, "read runs", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+runColumns+`
			from runs
			order by id desc
			limit $1`, limit)
	})
	runs := make([]customer.Run, len(rows))
	for i, r := range rows {
		runs[i] = r.run()
	}
	return runs, err
}

// pruneBatch is how many rows one statement deletes, so that none holds locks for long.
const pruneBatch = 1000

// Prune deletes what is older than before: deliveries that were settled, run
// records, events that were given up, answers to idempotency keys. It returns how many rows went.
func (s *Store) Prune(ctx context.Context, before time.Time) (int64, error) {
	var total int64
	for _, query := range []string{
		`delete from inbox where id in (
		   select id from inbox where received_at < $1 and state <> 'new' limit $2)`,
		// Events come by the thousand; once acted on they only serve to tell a second
		// delivery, which would do no harm either.
		`delete from inbox where id in (
		   select id from inbox
		   where received_at < greatest($1, clock_timestamp() - interval '48 hours') and state = 'done' limit $2)`,
		`delete from event_deliveries where (target, customer_id, version) in (
		   select target, customer_id, version from event_deliveries where dead_at < $1 limit $2)`,
		`delete from runs where id in (
		   select id from runs where started_at < $1 and ended_at is not null limit $2)`,
		`delete from idempotency_keys where (scope, key) in (
		   select scope, key from idempotency_keys
		   where created_at < greatest($1, clock_timestamp() - interval '24 hours') limit $2)`,
	} {
		for {
			var rows int64
			err := s.read(ctx, "prune", func(ctx context.Context) error {
				result, err := s.db.ExecContext(ctx, query, before, pruneBatch)
				if err != nil {
					return err
				}
				rows, err = result.RowsAffected()
				return err
			})
			total += rows
			if err != nil {
				return total, err
			}
			if rows < pruneBatch {
				break
			}
		}
	}
	return total, nil
}
