package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// StartRun records that a run began: its kind, and who wanted it why. Runs that never ended though nobody has
// their lease any more are marked aborted: whoever made them was killed.
func (s *Store) StartRun(ctx context.Context, r customer.Run, fence int64) (id int64, err error) {
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
			insert into runs (kind, fence, asked_by, why)
			values ($1, $2, $3, $4)
			returning id`, r.Kind, fence, r.AskedBy, r.Why)
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
	AskedBy    string         `db:"asked_by"`
	Why        string         `db:"why"`
}

const runColumns = `id, kind, started_at, ended_at, result, looked, linked, unlinked, rebound, filled, conflicts, errors,
  auth0_calls, budget_wait_ms, note, lane, asked_by, why`

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
		AskedBy:    r.AskedBy,
		Why:        r.Why,
	}
}

// DropRun forgets a run that came to nothing.
func (s *Store) DropRun(ctx context.Context, id int64) error {
	return s.read(ctx, "forget run", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `delete from runs where id = $1 and ended_at is null`, id)
		return err
	})
}

// Run returns the record of a run, or customer.ErrNotFound.
func (s *Store) Run(ctx context.Context, id int64) (customer.Run, error) {
	var r runRow
	err := s.read(ctx, "read run", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &r, `
			select `+runColumns+`
			from runs
			where id = $1`, id)
	})
	return r.run(), err
}

// RunChanges returns up to limit changes that a run made, in the order of the
// customers' ids, beginning behind the change that made this version of this customer
// ("": at the start).
func (s *Store) RunChanges(ctx context.Context, run int64, after customer.ID, version int64, limit int) ([]customer.RunChange, error) {
	var rows []struct {
		historyRow
		Customer  string `db:"customer_id"`
		FirstName string `db:"first_name"`
		LastName  string `db:"last_name"`
	}
	err := s.read(ctx, "read what a run changed", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select h.customer_id, c.first_name, c.last_name, `+qualified("h", historyColumns)+`
			from (
			  select *
			  from history
			  where run_id = $1 and (customer_id, version) > ($2::uuid, $3)
			  order by customer_id, version
			  limit $4) h
			join customers c on c.id = h.customer_id
			order by h.customer_id, h.version`, run, orFirst(after), version, limit)
	})
	changes := make([]customer.RunChange, len(rows))
	for i, r := range rows {
		changes[i] = customer.RunChange{Change: r.change(), Customer: customer.ID(r.Customer), FirstName: r.FirstName, LastName: r.LastName}
	}
	return changes, err
}

// qualified puts a table's name before each of some columns.
func qualified(table, columns string) string {
	names := strings.Split(columns, ",")
	for i, name := range names {
		names[i] = table + "." + strings.TrimSpace(name)
	}
	return strings.Join(names, ", ")
}

// Runs returns the newest runs, newest first.
func (s *Store) Runs(ctx context.Context, limit int) ([]customer.Run, error) {
	return s.RunsBefore(ctx, 0, limit)
}

// RunsBefore returns the newest runs before one, newest first; 0: before none.
func (s *Store) RunsBefore(ctx context.Context, before int64, limit int) ([]customer.Run, error) {
	var rows []runRow
	err := s.read(ctx, "read runs", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+runColumns+`
			from runs
			where $1::bigint is null or id < $1
			order by id desc
			limit $2`, nullInt(before), limit)
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
// records, events that were given up, answers to idempotency keys, counts of lags, plans. It returns how many rows went.
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
		`delete from lags where (hour, found_by, below) in (
		   select hour, found_by, below from lags where hour < $1 limit $2)`,
		`delete from plans where id in (
		   select id from plans where asked_at < $1 and state not in ('making', 'applying') limit $2)`,
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
