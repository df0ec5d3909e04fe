package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"time"
)

// AppKey is an application subscription key as it may be shown: without the key.
type AppKey struct {
	ID        string       `db:"id"`
	Name      string       `db:"name"`
	CreatedAt time.Time    `db:"created_at"`
	RevokedAt sql.NullTime `db:"revoked_at"`
}

// keyLength is the number of letters and digits in a key, as the API reference says.
const keyLength = 32

// CreateAppKey makes a key. It is returned this once and only its SHA-256 is
// kept: 32 random letters and digits need no slow hash (R17).
func (s *Store) CreateAppKey(ctx context.Context, name string) (id, key string, err error) {
	key = randomText(keyLength)
	id, err = s.AddAppKey(ctx, name, key)
	return id, key, err
}

// AddAppKey adds a key that was made elsewhere.
func (s *Store) AddAppKey(ctx context.Context, name, key string) (id string, err error) {
	id = "key_" + randomText(8)
	hash := sha256.Sum256([]byte(key))
	err = s.read(ctx, "add app key", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			insert into app_keys (id, name, sha256)
			values ($1, $2, $3)`, id, name, hash[:])
		return err
	})
	return id, err
}

// randomText is n letters and digits that nobody can guess.
func randomText(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	text := make([]byte, 0, n)
	var b [1]byte
	for len(text) < n {
		_, _ = rand.Read(b[:])                      // never fails (crypto/rand)
		if i := int(b[0] & 63); i < len(alphabet) { // 62 and 63 are drawn again: no bias
			text = append(text, alphabet[i])
		}
	}
	return string(text)
}

// AppKeys lists all keys, revoked ones too, oldest first.
func (s *Store) AppKeys(ctx context.Context) ([]AppKey, error) {
	var keys []AppKey
	err := s.read(ctx, "list app keys", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &keys, `
			select id, name, created_at, revoked_at
			from app_keys
			order by created_at, id`)
	})
	return keys, err
}

// RevokeAppKey ends a key for good; customer.ErrNotFound if there is none with
// this id. Revoking it again is nil.
func (s *Store) RevokeAppKey(ctx context.Context, id string) error {
	return s.read(ctx, "revoke app key", func(ctx context.Context) error {
		result, err := s.db.ExecContext(ctx, `
			update app_keys
			set revoked_at = coalesce(revoked_at, clock_timestamp())
			where id = $1`, id)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("%s: %w", id, sql.ErrNoRows)
		}
		return nil
	})
}

// LiveAppKeys returns the keys that are valid: SHA-256 of each, with its id.
func (s *Store) LiveAppKeys(ctx context.Context) (map[[sha256.Size]byte]string, error) {
	var rows []struct {
		ID   string `db:"id"`
		Hash []byte `db:"sha256"`
	}
	err := s.read(ctx, "read app keys", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select id, sha256
			from app_keys
			where revoked_at is null`)
	})
	live := make(map[[sha256.Size]byte]string, len(rows))
	for _, r := range rows {
		live[[sha256.Size]byte(r.Hash)] = r.ID
	}
	return live, err
}
