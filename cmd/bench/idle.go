package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ahiko-io/customersync/store"
)

// idleFor is how long nothing happens.
const idleFor = 20 * time.Second

// measureIdle is what the daemon costs when there is nothing to do, and how soon
// it is ready. This one works by its usual schedule.
func measureIdle(ctx context.Context, b *bench) (results []result, err error) {
	usual := []string{"CUSTOMERSYNC_PROMOTE_SCHEDULE=@every 30s", "CUSTOMERSYNC_FOLLOW=auto"}
	if err := b.settle(ctx, usual...); err != nil {
		return nil, err
	}
	var ready []float64
	for range b.rounds {
		started := time.Now()
		daemon, err := b.daemon(ctx, usual...)
		if err != nil {
			return nil, err
		}
		ready = append(ready, float64(time.Since(started))/float64(time.Millisecond))
		if err := daemon.stop(); err != nil {
			return nil, err
		}
	}
	daemon, err := b.daemon(ctx, usual...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	before, err := daemon.cpu()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, idleFor); err != nil {
		return nil, err
	}
	after, err := daemon.cpu()
	if err != nil {
		return nil, err
	}
	memory, err := daemon.memory(memoryNow)
	if err != nil {
		return nil, err
	}
	own, err := daemon.memory(memoryOwn)
	if err != nil {
		return nil, err
	}
	idle := absolute("idle: memory", "MB", goal{AtMost: 20}, float64(memory)/(1<<20))
	idle.Note = fmt.Sprintf("%.1f MB of it its own, the rest the program's file", float64(own)/(1<<20))
	return []result{
		idle,
		absolute("idle: processor", "%", goal{AtMost: 0.1}, 100*(after-before).Seconds()/idleFor.Seconds()),
		absolute("from start to ready", "ms", goal{AtMost: 50}, ready...),
	}, nil
}

// settle has a daemon hold all customers against the tenant, as it does when it
// follows the feed for the first time: that is work, and not what idling costs.
func (b *bench) settle(ctx context.Context, environment ...string) (err error) {
	daemon, err := b.daemon(ctx, environment...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	for done := false; !done; {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		if err := b.db.GetContext(ctx, &done, `select exists (select from runs where kind = 'reconcile' and ended_at is not null)`); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// measureTick is what a tick asks of the database when nothing is due: pages of
// the index that is probed, whatever the number of customers, and no call of Auth0.
func measureTick(ctx context.Context, b *bench) (results []result, err error) {
	if _, err := b.db.ExecContext(ctx, `update customers set next_check_at = now() + interval '10 days' where next_check_at < now() + interval '1 day'`); err != nil {
		return nil, err
	}
	if _, err := b.db.ExecContext(ctx, `vacuum customers`); err != nil { // entries of rows that moved are passed over but once
		return nil, err
	}
	connection, err := b.db.Connx(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	var text []byte
	for range 2 { // the first time a connection also reads where each index begins
		if err := connection.GetContext(ctx, &text, `explain (analyze, buffers, format json) `+store.Probe); err != nil {
			return nil, err
		}
	}
	var plans []struct {
		Plan plan `json:"Plan"`
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		return nil, err
	}
	if len(plans) != 1 {
		return nil, errors.New("explain told no plan")
	}
	due := plans[0].Plan.find("customers_due")
	if due == nil {
		return nil, errors.New("the probe does not use the index of what is due")
	}
	return []result{
		absolute("a tick with nothing due: pages of the index probed", "", goal{AtMost: 2}, float64(due.Hit+due.Read)),
		absolute("the same, with the inbox's two probes", "", goal{}, float64(plans[0].Plan.Hit+plans[0].Plan.Read)),
	}, nil
}

// plan is a node of what EXPLAIN says.
type plan struct {
	Index string `json:"Index Name"`
	Hit   int    `json:"Shared Hit Blocks"`
	Read  int    `json:"Shared Read Blocks"`
	Plans []plan `json:"Plans"`
}

func (p *plan) find(index string) *plan {
	if p.Index == index {
		return p
	}
	for i := range p.Plans {
		if found := p.Plans[i].find(index); found != nil {
			return found
		}
	}
	return nil
}
