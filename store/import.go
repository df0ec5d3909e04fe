package store

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// errErasedMeanwhile undoes a batch: one of it was erased while it was written.
var errErasedMeanwhile = errors.New("a customer was erased meanwhile")

// Import makes customers of a list, each with an address and linked to nobody, as
// Create makes them for an app, and says of each what came of it. A customer that is
// there already is left as it is, so a list may be imported again. It brings nobody back who
// was erased: an app may do that, which has the person before it, a list may not.
//
// The drafts are made in one transaction, but for those that a delivery was kept for,
// which are linked as they are made, each in one of its own.
func (s *Store) Import(ctx context.Context, drafts []customer.Draft, cause customer.Cause) (came []customer.Imported, err error) {
	for {
		came, err = s.importOnce(ctx, drafts, cause)
		if !errors.Is(err, errErasedMeanwhile) {
			break
		}
	}
	for i, d := range drafts {
		if err != nil {
			return nil, err
		}
		if came[i] == "" {
			came[i], err = s.importAlone(ctx, d, cause)
		}
	}
	return came, err
}

// importOnce leaves "" where a customer has to be made alone.
func (s *Store) importOnce(ctx context.Context, drafts []customer.Draft, cause customer.Cause) (came []customer.Imported, err error) {
	keys := make([]string, len(drafts))
	all := make([]making, len(drafts))
	for i, d := range drafts {
		keys[i], all[i] = string(d.Email.Key), making{d, cause}
	}
	err = s.inTx(ctx, "import", func(tx *sqlx.Tx) error {
		came = make([]customer.Imported, len(drafts))
		barred, err := s.barredAddresses(ctx, tx, keys)
		if err != nil {
			return err
		}
		live, err := liveAddresses(ctx, tx, keys)
		if err != nil {
			return err
		}
		var rest []making
		var places []int
		for i, key := range keys {
			switch {
			case live[key]:
				came[i] = customer.ImportThere
			case barred[key]:
				came[i] = customer.ImportErased
			default:
				rest, places = append(rest, all[i]), append(places, i)
				live[key] = true // whoever has the same address further down
			}
		}
		made, err := s.makeFirst(ctx, tx, rest)
		if err != nil {
			return err
		}
		var written []string
		for n, i := range places {
			if made[n] {
				came[i], written = customer.ImportMade, append(written, keys[i])
			}
		}
		// Whoever was erased after the first look had a live customer then, which the
		// insert waited for: only this look tells.
		if barred, err = s.barredAddresses(ctx, tx, written); err == nil && len(barred) > 0 {
			err = errErasedMeanwhile
		}
		return err
	})
	return came, err
}

func (s *Store) importAlone(ctx context.Context, d customer.Draft, cause customer.Cause) (customer.Imported, error) {
	_, created, err := s.createAlone(ctx, d, nil, cause)
	switch {
	case errors.Is(err, customer.ErrEmailTaken), err == nil && !created:
		return customer.ImportThere, nil
	case err != nil:
		return "", err
	}
	return customer.ImportMade, nil
}

// barredAddresses are those of keys that an erased customer had.
func (s *Store) barredAddresses(ctx context.Context, tx *sqlx.Tx, keys []string) (barred map[string]bool, err error) {
	suspects := s.erase.ask(emailName, keys...)
	if len(suspects.names) == 0 {
		return nil, nil //nolint:nilnil // nothing is found in a nil map
	}
	var found []string
	err = tx.SelectContext(ctx, &found, prepared+`
		select a.name
		from unnest($1::text[], $2::bytea[]) as a(name, hash)
		join erased_names e on e.hash = a.hash`, suspects.names, suspects.hashes)
	return setOf(found), err
}

func liveAddresses(ctx context.Context, tx *sqlx.Tx, keys []string) (live map[string]bool, err error) {
	var found []string
	err = tx.SelectContext(ctx, &found, prepared+`
		select email_key
		from customers
		where email_key = any($1) and lifecycle <> 'inactive'`, pq.Array(keys))
	return setOf(found), err
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// Customers returns up to limit customers behind one, in the order of their ids, which
// is that of their making.
func (s *Store) Customers(ctx context.Context, after customer.ID, limit int) ([]customer.Customer, error) {
	if after == "" {
		after = firstID
	}
	var rows []row
	err := s.read(ctx, "read customers", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select `+columns+`
			from customers
			where id > $1
			order by id
			limit $2`, string(after), limit)
	})
	all := make([]customer.Customer, len(rows))
	for i, r := range rows {
		all[i] = r.customer()
	}
	return all, err
}
