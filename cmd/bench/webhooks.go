package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
)

const webhookConnections = 32

// luaWebhook delivers events about users that nobody knows: verified, written, kept.
const luaWebhook = `
headers = { ["Authorization"] = "Bearer ` + streamToken + `", ["Content-Type"] = "application/json" }
function request()
  count = count + 1
  local id = seed .. "-" .. count
  return wrk.format("POST", "/webhooks/auth0", headers, '{"specversion":"1.0","id":"evt_' .. id .. '","type":"user.created",' ..
    '"source":"urn:auth0:bench.local","time":"2026-11-23T12:00:00.000Z","data":{"object":{"user_id":"auth0|' .. id .. '","email":"' .. id ..
    '@example.com","email_verified":true,"created_at":"2026-11-23T12:00:00.000Z","updated_at":"2026-11-23T12:00:00.000Z",' ..
    '"identities":[{"provider":"auth0","user_id":"' .. id .. '","connection":"Username-Password-Authentication","isSocial":false}]}}}')
end
`

// sqlWebhook writes a delivery as a table of events is usually written.
const sqlWebhook = `
\set i :i + 1
\set k :client_id * 100000000 + :i
insert into inbox (source, event_id, kind, state, hint_auth_user_id, hint_email, hint_email_key, hint_identities, deleted, actionable)
values ('bench', 'evt_{seed}' || :k::bigint, 'user.created', 'done', 'auth0|{seed}' || :k::bigint,
  '{seed}' || :k::bigint || '@example.com', '{seed}' || :k::bigint || '@example.com', '{}', false, true)
on conflict on constraint inbox_once do nothing;
`

func measureWebhooks(ctx context.Context, b *bench) (results []result, err error) {
	daemon, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	var rates []round
	var ours []float64
	for range b.rounds {
		limit, err := b.pgbench(ctx, sqlWebhook, webhookConnections)
		if err != nil {
			return nil, err
		}
		f, cost, err := costing(daemon, func() (httpFigures, error) {
			return b.wrk(ctx, httpLoad{url: apiURL, script: luaWebhook, connections: webhookConnections, each: b.each})
		})
		if err != nil {
			return nil, err
		}
		rates = append(rates, round{f.rate(), limit, microseconds(cost)})
		ours = append(ours, f.rate())
	}
	// The worker takes them in meanwhile and after; what comes next begins with an empty inbox.
	err = until(ctx, "the inbox to be taken in", func() bool {
		var left int
		err := b.db.GetContext(ctx, &left, `select count(*) from inbox where state = 'new'`)
		return err == nil && left == 0
	})
	if err != nil {
		return nil, err
	}
	if _, err := b.db.ExecContext(ctx, `truncate inbox`); err != nil {
		return nil, err
	}
	return []result{
		compared("webhook deliveries, against pgbench", "1/s", goal{AtLeast: 0.6}, rates),
		absolute("webhook deliveries", "1/s", goal{AtLeast: 2500}, ours...),
	}, nil
}

// ingested is how many customers the measure below makes active.
const ingested = 10_000

// measureIngest delivers events about users that customers wait for, and counts
// until all of those are active: taken in, looked up at the simulator, linked.
func measureIngest(ctx context.Context, b *bench) ([]result, error) {
	if err := b.fillTenant(ctx); err != nil {
		return nil, err
	}
	var rate float64
	err := b.clone(ctx, func(dsn string) (err error) {
		daemon, err := b.daemon(ctx, "DATABASE_URL="+dsn)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, daemon.stop()) }()
		return b.at(dsn, func(db *sqlx.DB) error {
			before, err := countLinked(ctx, db)
			if err != nil {
				return err
			}
			started := time.Now()
			if err := deliverAll(ctx, min(ingested, b.customers/onePending)); err != nil {
				return err
			}
			rate, err = b.untilActive(ctx, db, before, started)
			return err
		})
	})
	return []result{absolute("events to active customers", "1/s", goal{AtLeast: 1000}, rate)}, err
}

// fillTenant gives the simulated tenant a user for each customer.
func (b *bench) fillTenant(ctx context.Context) error {
	if b.tenant {
		return nil
	}
	b.tenant = true
	return b.control(ctx, "POST", "fill", map[string]int{"users": b.customers}, nil)
}

// deliverAll posts an event for each of so many customers that wait.
func deliverAll(ctx context.Context, n int) error {
	var all sync.WaitGroup
	failed := make(chan error, webhookConnections)
	for sender := range webhookConnections {
		all.Go(func() {
			for i := sender; i < n; i += webhookConnections {
				if err := deliver(ctx, i*onePending); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

func deliver(ctx context.Context, user int) error {
	body := fmt.Sprintf(`{"specversion":"1.0","id":"evt_%[1]d","type":"user.created","data":{"object":{"user_id":"auth0|%024[1]d","email":"user%[1]d@example.com","email_verified":true}}}`, user)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, apiURL+"/webhooks/auth0", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+streamToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("a delivery got status %d", res.StatusCode)
	}
	return errors.Join(err, res.Body.Close())
}

// countLinked is by the records of runs: to count customers would take the
// processors from what is measured.
func countLinked(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `select coalesce(sum(linked), 0) from runs`)
	return n, err
}

// untilActive is how many customers a second became active since then.
func (b *bench) untilActive(ctx context.Context, db *sqlx.DB, before int, started time.Time) (float64, error) {
	want := min(ingested, b.customers/onePending)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		linked, err := countLinked(ctx, db)
		if err != nil || linked-before >= want {
			return float64(want) / time.Since(started).Seconds(), err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d customers active: %w", linked-before, want, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
