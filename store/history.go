package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// historyRow is a change as the table holds it.
type historyRow struct {
	Version       int64          `db:"version"`
	At            time.Time      `db:"at"`
	CauseKind     string         `db:"cause_kind"`
	Actor         string         `db:"actor"`
	RequestID     string         `db:"request_id"`
	Change        string         `db:"change"`
	Field         sql.NullString `db:"field"`
	From          sql.NullString `db:"from_value"`
	To            sql.NullString `db:"to_value"`
	FromLifecycle sql.NullString `db:"from_lifecycle"`
	ToLifecycle   string         `db:"to_lifecycle"`
	Why           string         `db:"why"`
	Evidence      []byte         `db:"evidence"`
	Run           sql.NullInt64  `db:"run_id"`
}

// historyColumns are those of historyRow.
const historyColumns = `version, at, cause_kind, actor, request_id, change, field, from_value, to_value,
  from_lifecycle, to_lifecycle, why, evidence, run_id`

func (r historyRow) change() customer.Change {
	return customer.Change{
		Version:       r.Version,
		At:            r.At.UTC(),
		What:          r.Change,
		Cause:         customer.Cause{Kind: customer.CauseKind(r.CauseKind), Actor: r.Actor, RequestID: r.RequestID, Run: r.Run.Int64, Why: r.Why},
		Field:         r.Field.String,
		From:          r.From.String,
		To:            r.To.String,
		FromLifecycle: customer.Lifecycle(r.FromLifecycle.String),
		ToLifecycle:   customer.Lifecycle(r.ToLifecycle),
		Evidence:      r.Evidence,
	}
}

// History returns a customer's changes, oldest first, with the times its address was
// revealed among them. A customer that does not exist has none.
func (s *Store) History(ctx context.Context, id customer.ID) ([]customer.Change, error) {
	var rows []historyRow
	err := s.read(ctx, "read history", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+historyColumns+`
			from (
			  select `+historyColumns+`, false as revealed
			  from history
			  where customer_id = $1
			  union all
			  select version, at, cause_kind, actor, request_id, 'revealed', null, null, null,
			    lifecycle, lifecycle, why, null, null, true
			  from reveals
			  where customer_id = $1) h
			order by version, revealed, at`, string(id))
	})
	changes := make([]customer.Change, len(rows))
	for i, r := range rows {
		changes[i] = r.change()
	}
	return changes, err
}

// Explain returns why a customer is in its state (R19), or customer.ErrNotFound.
func (s *Store) Explain(ctx context.Context, id customer.ID) (customer.Explanation, error) {
	var r struct {
		row
		Reason     sql.NullString `db:"reason"`
		Misses     int            `db:"misses"`
		AskedAt    sql.NullTime   `db:"checked_at"`
		GoneAt     sql.NullTime   `db:"gone_at"`
		Next       sql.NullTime   `db:"next_check_at"`
		Looking    bool           `db:"looking"`
		Candidates []byte         `db:"candidates"`
		Looks      []byte         `db:"looks"`
	}
	err := s.read(ctx, "explain customer", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &r, `
			select `+columns+`, reason, misses, checked_at, gone_at, next_check_at, candidates, looks, `+looking+` as looking
			from customers
			where id = $1`, string(id))
	})
	if err != nil {
		return customer.Explanation{}, err
	}
	e := customer.Explanation{
		Customer: r.customer(), Reason: customer.Reason(r.Reason.String), Misses: r.Misses,
		AskedAt: utc(r.AskedAt), GoneAt: utc(r.GoneAt), Next: utc(r.Next), Looking: r.Looking,
	}
	if e.Candidates, err = parseCandidates(r.Candidates); err != nil {
		return customer.Explanation{}, err
	}
	if e.Looks, err = parseLooks(r.Looks); err != nil {
		return customer.Explanation{}, err
	}
	e.History, err = s.History(ctx, id)
	return e, err
}

// utc reads a time that may be null: the zero time.
func utc(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// change is a history row in the making.
type change struct {
	what     string // as the check on history.change lists them
	field    string
	from, to string
	before   customer.Lifecycle // "" when created
	evidence string             // JSON; "" if nothing was seen
}

// writeHistory adds the row that belongs to a customer's newest version.
func writeHistory(ctx context.Context, tx *sqlx.Tx, after row, c change, cause customer.Cause) error {
	_, err := tx.ExecContext(ctx, prepared+`
		insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
		  from_value, to_value, from_lifecycle, to_lifecycle, why, evidence, run_id)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		after.ID, after.Version, after.UpdatedAt, string(cause.Kind), cause.Actor, cause.RequestID, c.what, null(c.field),
		null(c.from), null(c.to), null(string(c.before)), after.Lifecycle, cause.Why, null(c.evidence), nullInt(cause.Run))
	return err
}

// evidenceJSON is how a link's evidence is kept.
func evidenceJSON(e customer.Evidence) (string, error) {
	b, err := json.Marshal(struct {
		AuthUserID    string    `json:"auth_user_id"`
		EmailVerified bool      `json:"email_verified"`
		Providers     []string  `json:"providers"`
		NamedBy       string    `json:"named_by"`
		UpdatedAt     time.Time `json:"updated_at"`
		SeenAt        time.Time `json:"seen_at"`
	}(e))
	return string(b), err
}
