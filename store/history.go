package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// HistoryRow is one change of a customer: when, who or what, from, to, why.
type HistoryRow struct {
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
	Evidence      []byte         `db:"evidence"` // JSON, nil if none
}

// History returns a customer's changes, oldest first. A customer that does not
// exist has none.
func (s *Store) History(ctx context.Context, id customer.ID) ([]HistoryRow, error) {
	var rows []HistoryRow
	err := s.read(ctx, "read history", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select version, at, cause_kind, actor, request_id, change, field, from_value, to_value,
			  from_lifecycle, to_lifecycle, why, evidence
			from history
			where customer_id = $1
			order by version`, string(id))
	})
	return rows, err
}

// change is a history row in the making.
type change struct {
	what     string // as the check on history.change lists them
	field    string
	from, to string
	before   customer.Lifecycle // "" when created
}

// writeHistory adds the row that belongs to a customer's newest version.
func writeHistory(ctx context.Context, tx *sqlx.Tx, after row, c change, cause customer.Cause) error {
	_, err := tx.ExecContext(ctx, `
		insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
		  from_value, to_value, from_lifecycle, to_lifecycle, why)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		after.ID, after.Version, after.UpdatedAt, string(cause.Kind), cause.Actor, cause.RequestID, c.what, null(c.field),
		null(c.from), null(c.to), null(string(c.before)), after.Lifecycle, cause.Why)
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
