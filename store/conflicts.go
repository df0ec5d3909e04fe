package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// conflictRow is a customer that waits for a person.
type conflictRow struct {
	row
	Reason     string       `db:"reason"`
	AskedAt    sql.NullTime `db:"checked_at"`
	Next       sql.NullTime `db:"next_check_at"`
	Candidates []byte       `db:"candidates"`
}

const conflictColumns = columns + `, reason, checked_at, next_check_at, candidates`

func (r conflictRow) conflict() (customer.Conflict, error) {
	candidates, err := parseCandidates(r.Candidates)
	return customer.Conflict{
		Customer: r.customer(), Reason: customer.Reason(r.Reason),
		AskedAt: utc(r.AskedAt), Next: utc(r.Next), Candidates: candidates,
	}, err
}

// Conflicts returns up to limit customers that wait for a person, in the order of
// their ids, beginning behind after ("": at the start).
func (s *Store) Conflicts(ctx context.Context, after customer.ID, limit int) ([]customer.Conflict, error) {
	var rows []conflictRow
	err := s.read(ctx, "list conflicts", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+conflictColumns+`
			from customers
			where reason in ('several_users', 'user_taken') and ($1::uuid is null or id > $1::uuid)
			order by id
			limit $2`, null(string(after)), limit)
	})
	if err != nil {
		return nil, err
	}
	conflicts := make([]customer.Conflict, len(rows))
	for i, r := range rows {
		if conflicts[i], err = r.conflict(); err != nil {
			return nil, err
		}
	}
	return conflicts, nil
}

// Conflict returns one customer that waits for a person. Errors:
// customer.ErrNotFound, and customer.ErrNoConflict if it does not.
func (s *Store) Conflict(ctx context.Context, id customer.ID) (customer.Conflict, error) {
	var rows []conflictRow
	err := s.read(ctx, "read conflict", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+conflictColumns+`
			from customers
			where id = $1 and reason in ('several_users', 'user_taken')`, string(id))
	})
	if err != nil {
		return customer.Conflict{}, err
	}
	if len(rows) == 0 {
		if _, err := s.Customer(ctx, id); err != nil {
			return customer.Conflict{}, err
		}
		return customer.Conflict{}, customer.ErrNoConflict
	}
	return rows[0].conflict()
}

// candidateJSON is how a candidate is kept.
type candidateJSON struct {
	AuthUserID    string      `json:"auth_user_id"`
	Connections   []string    `json:"connections"`
	EmailVerified bool        `json:"email_verified"`
	CreatedAt     time.Time   `json:"created_at"`
	Holder        customer.ID `json:"holder"`
}

// candidatesJSON is null where there is nothing to keep.
func candidatesJSON(candidates []customer.Candidate) (sql.NullString, error) {
	if len(candidates) == 0 {
		return sql.NullString{}, nil
	}
	kept := make([]candidateJSON, len(candidates))
	for i, c := range candidates {
		kept[i] = candidateJSON(c)
	}
	b, err := json.Marshal(kept)
	return null(string(b)), err
}

func parseCandidates(b []byte) ([]customer.Candidate, error) {
	if b == nil {
		return nil, nil
	}
	var kept []candidateJSON
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("read candidates: %w", err)
	}
	candidates := make([]customer.Candidate, len(kept))
	for i, c := range kept {
		candidates[i] = customer.Candidate(c)
	}
	return candidates, nil
}
