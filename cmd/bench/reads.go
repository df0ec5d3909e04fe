package main

import (
	"context"
	"errors"
	"time"
)

const readConnections = 32

const luaGet = `
local path = "/customer/v1/customers?email_address=user"
function request()
  return wrk.format("GET", path .. math.random(0, customers - 1) .. "%40example.com", headers)
end
`

// luaGetSame asks on condition that the customer has changed: * is every tag.
const luaGetSame = luaGet + `
expected = 304
headers["If-None-Match"] = "*"
`

// sqlGet is what a GET by e-mail asks of Postgres.
const sqlGet = `
\set n random(0, :customers - 1)
(select id, created_at, updated_at, first_name, last_name, auth_user_id, email_address, email_key, lifecycle, version, created_by
 from customers where email_key = 'user' || :n::bigint || '@example.com' and lifecycle <> 'inactive')
union all
(select id, created_at, updated_at, first_name, last_name, auth_user_id, email_address, email_key, lifecycle, version, created_by
 from customers where email_key = 'user' || :n::bigint || '@example.com' and lifecycle = 'inactive'
 order by updated_at desc limit 1)
limit 1;
`

func measureReads(ctx context.Context, b *bench) (results []result, err error) {
	daemon, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	static, err := b.static(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, static.stop()) }()
	load := func(url, script string) func() (httpFigures, error) {
		return func() (httpFigures, error) {
			return b.wrk(ctx, httpLoad{url: url, script: script, connections: readConnections, each: b.each})
		}
	}
	var rates, same, cpu []round
	for range b.rounds {
		limit, err := b.pgbench(ctx, sqlGet, readConnections)
		if err != nil {
			return nil, err
		}
		ours, cost, err := costing(daemon, load(apiURL, luaGet))
		if err != nil {
			return nil, err
		}
		unchanged, err := load(apiURL, luaGetSame)()
		if err != nil {
			return nil, err
		}
		_, bare, err := costing(static, load("http://"+staticAddress, luaGet))
		if err != nil {
			return nil, err
		}
		rates = append(rates, round{ours.rate(), limit, microseconds(cost)})
		same = append(same, round{unchanged.rate(), ours.rate(), 0})
		cpu = append(cpu, round{microseconds(cost), microseconds(bare), 0})
	}
	return []result{
		compared("GET by e-mail, against pgbench", "1/s", goal{AtLeast: 0.45}, rates),
		compared("GET by e-mail, processor time of the daemon, against a static answer", "µs", goal{AtMost: 2}, cpu),
		compared("GET by e-mail, not modified, against the same modified", "1/s", goal{AtLeast: 1}, same),
	}, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
