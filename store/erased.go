package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// This file is about the names of erased customers: their Auth0 users and their
// addresses, of which only keyed hashes are left. Such a name is barred: no look links
// the user, and what is delivered about it is not kept, until somebody brings it back
// who may: an app by creating a customer with the address or by setting auth_user_id,
// a person by creating a customer with a token issued since.

// eraseKeys make the hashes. All are valid; the first makes new ones. Without any,
// nothing is ever erased or barred, and no statement asks.
type eraseKeys [][]byte

// Kinds of names.
const (
	userName  = "user"
	emailName = "email"
)

// hashes of a name, one for each key.
func (k eraseKeys) hashes(kind, name string) (all pq.ByteaArray) {
	if name == "" {
		return nil
	}
	for _, key := range k {
		all = append(all, hashed(key, kind, name))
	}
	return all
}

func hashed(key []byte, kind, name string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(kind + "\x00" + name)) // a hash never fails
	return mac.Sum(nil)
}

// keyID tells which key made a hash.
func keyID(key []byte) []byte { return hashed(key, "key", "")[:8] }

func (k eraseKeys) ids() (all pq.ByteaArray) {
	for _, key := range k {
		all = append(all, keyID(key))
	}
	return all
}

// suspects are names with their hashes, as the arguments of a query that asks which of
// them are barred.
type suspects struct {
	names  pq.StringArray
	hashes pq.ByteaArray
}

func (k eraseKeys) ask(kind string, names ...string) (a suspects) {
	for _, name := range names {
		for _, hash := range k.hashes(kind, name) {
			a.names, a.hashes = append(a.names, name), append(a.hashes, hash)
		}
	}
	return a
}

// lift takes the bar from names.
func (k eraseKeys) lift(ctx context.Context, tx *sqlx.Tx, kind string, names ...string) error {
	if len(k) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, prepared+`delete from erased_names where hash = any($1)`, k.ask(kind, names...).hashes)
	return err
}

// StrangeEraseKeys counts names that were barred by a key that the store was not given:
// those it does not know again.
func (s *Store) StrangeEraseKeys(ctx context.Context) (n int, err error) {
	err = s.read(ctx, "look for erasures by another key", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &n, `select count(*) from erased_names where key_id <> all(coalesce($1::bytea[], '{}'))`, s.erase.ids())
	})
	return n, err
}

// Erasure returns the proof that a customer was erased, or customer.ErrNotFound.
func (s *Store) Erasure(ctx context.Context, id customer.ID) (customer.Erasure, error) {
	var r erasureRow
	err := s.read(ctx, "read erasure", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &r, `
			select `+erasureColumns+`
			from erasures
			where customer_id = $1`, string(id))
	})
	if err != nil {
		return customer.Erasure{}, err
	}
	return r.erasure()
}
