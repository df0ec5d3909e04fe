package api_test

import (
	"database/sql"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// fill adds customers in bulk, past the API.
func (s *service) fill(rows int) error {
	connector, err := pq.NewConnector(s.dsn)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(s.t.Context(), `
		insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key, lifecycle, version,
		  created_by, auth_user_id)
		select gen_random_uuid(), now(), now(), 'A', 'B', i || '@example.com', i || '@example.com', 'active', 1, '', 'auth0|' || i
		from generate_series(1, $1) i`, rows)
	return err
}

func openStore(s *service) *store.Store {
	s.dsn = storetest.DSN(s.t)
	st, err := store.Open(store.Options{DSN: s.dsn, PgBouncer: storetest.PgBouncer(), EraseKeys: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}})
	must(s.t, err)
	s.t.Cleanup(func() { _ = st.Close() })
	return st
}

// contents is all that the database holds, a hash for each table.
func (s *service) contents() map[string]string {
	s.t.Helper()
	connector, err := pq.NewConnector(s.dsn)
	must(s.t, err)
	db := sql.OpenDB(connector)
	defer db.Close()
	all := map[string]string{}
	for _, table := range []string{"customers", "history", "inbox", "idempotency_keys", "runs", "app_keys", "auth0_observations", "lanes"} {
		var hash string
		must(s.t, db.QueryRowContext(s.t.Context(), `
			select count(*) || ' ' || coalesce(md5(string_agg(t::text, ',' order by t::text)), '')
			from `+table+` t`).Scan(&hash))
		all[table] = hash
	}
	return all
}
