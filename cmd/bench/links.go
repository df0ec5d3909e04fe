package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// sqlLink is the limit of linking from an export: its users come as a file of
// CSV, ready to be copied, and one statement links all that match.
const sqlLink = `
create unlogged table staged (user_id text, email text, verified boolean);
\copy staged from '{file}' csv
with linked as (
  update customers c
  set auth_user_id = s.user_id, lifecycle = 'active', reason = null, next_check_at = null, misses = 0, checked_at = clock_timestamp(),
    version = c.version + 1, updated_at = greatest(clock_timestamp(), c.updated_at + interval '1 microsecond')
  from staged s
  where s.email = c.email_key and s.verified and c.lifecycle = 'auth_pending' and c.auth_user_id is null
  returning c.id, c.version, c.updated_at, c.auth_user_id
)
insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field, to_value, from_lifecycle, to_lifecycle, why, evidence)
select id, version, updated_at, 'run', 'psql', '', 'linked', 'auth_user_id', auth_user_id, 'auth_pending', 'active', 'matched',
  json_build_object('auth_user_id', auth_user_id, 'email_verified', true, 'providers', array['auth0'], 'named_by', 'email', 'seen_at', updated_at)
from linked;
`

// linkRounds is fewer than elsewhere: each copies the database, twice.
const linkRounds = 2

// measureLinks has all customers that wait linked from an export of the tenant,
// each time on a fresh copy of the database.
func measureLinks(ctx context.Context, b *bench) ([]result, error) {
	file, packed := filepath.Join(b.dir, "users.csv"), filepath.Join(b.dir, "users.ndjson.gz")
	if err := b.writeUsers(ctx, file); err != nil {
		return nil, err
	}
	if err := writeExport(packed, b.customers, func(i int) string { return fmt.Sprintf("%024d", i) }); err != nil {
		return nil, err
	}
	tenant, stop, err := exporting(ctx, packed, b.customers)
	if err != nil {
		return nil, err
	}
	defer stop()
	var times []round
	var peaks, wholes []float64
	for range linkRounds {
		var limit float64
		err := b.clone(ctx, func(dsn string) (err error) {
			limit, err = b.psqlLinks(ctx, dsn, strings.ReplaceAll(sqlLink, "{file}", file))
			return err
		})
		if err != nil {
			return nil, err
		}
		var ours reconciled
		if err := b.clone(ctx, func(dsn string) (err error) { ours, err = b.reconcile(ctx, dsn, tenant); return err }); err != nil {
			return nil, err
		}
		times = append(times, round{Ours: ours.linking, Limit: limit})
		peaks, wholes = append(peaks, ours.peak), append(wholes, ours.whole)
	}
	var p99 round
	if err := b.clone(ctx, func(dsn string) (err error) { p99, err = b.patchesMeanwhile(ctx, dsn, tenant); return err }); err != nil {
		return nil, err
	}
	return []result{
		compared(fmt.Sprintf("link %d of %d from an export, against psql", b.customers/onePending, b.customers), "s", goal{AtMost: 1}, times),
		absolute("the same, memory at most", "MB", goal{AtMost: 64}, peaks...),
		absolute("the same, and all linked customers held against the export", "s", goal{}, wholes...),
		absolute("PATCH meanwhile, 99th percentile", "ms", goal{AtMost: 10}, p99.Ours),
		absolute("PATCH as seldom without it, 99th percentile", "ms", goal{}, p99.Limit),
	}, nil
}

func (b *bench) writeUsers(ctx context.Context, file string) error {
	query := fmt.Sprintf(`\copy (select 'auth0|' || lpad(i::text, 24, '0'), 'user' || i || '@example.com', true from generate_series(0, %d) i) to '%s' csv`, b.customers-1, file)
	out, err := exec.CommandContext(ctx, filepath.Join(b.programs, "psql"), "-qc", query, b.dsn).CombinedOutput() //nolint:gosec // Postgres' own
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

func (b *bench) psqlLinks(ctx context.Context, dsn, script string) (float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.programs, "psql"), "-q1", "-v", "ON_ERROR_STOP=1", dsn) //nolint:gosec // Postgres' own
	cmd.Stdin = strings.NewReader(script)
	seconds, err := b.timed(ctx, cmd)
	if err != nil {
		return 0, err
	}
	return seconds, b.allLinked(ctx, dsn)
}

// allLinked checks that everybody was linked whom the tenant has a user for.
func (b *bench) allLinked(ctx context.Context, dsn string) error {
	return b.at(dsn, func(db *sqlx.DB) error {
		var linked int
		err := db.GetContext(ctx, &linked, `select count(*) from history where change = 'linked'`)
		if err == nil && linked != b.customers/onePending {
			err = fmt.Errorf("%d customers of %d were linked", linked, b.customers/onePending)
		}
		return err
	})
}

func (b *bench) at(dsn string, run func(*sqlx.DB) error) error {
	db, err := sqlx.Open("postgres", dsn+"&sslmode=disable")
	if err != nil {
		return err
	}
	return errors.Join(run(db), db.Close())
}

// reconciled is what a full reconcile took.
type reconciled struct {
	linking float64 // seconds from the start of the run to the last link
	whole   float64 // seconds from start to end
	peak    float64 // MB
}

func (b *bench) reconcile(ctx context.Context, dsn, tenant string) (reconciled, error) {
	started := time.Now()
	p, err := start(ctx, b.dir, "reconcile", b.environment("DATABASE_URL="+dsn, "AUTH0_BASE_URL="+tenant), b.binary, "reconcile", "--json")
	if err != nil {
		return reconciled{}, err
	}
	peak, err := p.toItsEnd()
	r := reconciled{whole: time.Since(started).Seconds(), peak: float64(peak) / (1 << 20)}
	if err != nil {
		return r, fmt.Errorf("reconcile: %w; see %s", err, p.log.Name())
	}
	if err := b.allLinked(ctx, dsn); err != nil {
		return r, err
	}
	return r, b.at(dsn, func(db *sqlx.DB) error {
		return db.GetContext(ctx, &r.linking, `
			select extract(epoch from (select max(at) from history where change = 'linked') - (select max(started_at) from runs where kind = 'reconcile'))`)
	})
}

const luaPatchSlowly = luaPatch + `
function delay() return 20 end
`

// patchesMeanwhile loads the API with some 200 PATCHes a second while a full
// reconcile links everybody, and before, and returns the 99th percentiles.
func (b *bench) patchesMeanwhile(ctx context.Context, dsn, tenant string) (p99 round, err error) {
	daemon, err := b.daemon(ctx, "DATABASE_URL="+dsn)
	if err != nil {
		return p99, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	patches := httpLoad{url: apiURL, script: luaPatchSlowly, connections: 4, each: 5 * time.Second}
	before, err := b.wrk(ctx, patches)
	if err != nil {
		return p99, err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := b.reconcile(ctx, dsn, tenant)
		ended <- err
	}()
	patches.each = 15 * time.Second
	meanwhile, err := b.wrk(ctx, patches)
	return round{Ours: meanwhile.P99, Limit: before.P99}, errors.Join(err, <-ended)
}
