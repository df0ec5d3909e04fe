package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// feedRows are the events, wherever they stand.
const feedRows = `(
			  select position, customer_id, version, at, change, field, to_lifecycle
			  from history
			  where position is not null
			  union all
			  select position, customer_id, version, erased_at, 'erased', null, 'inactive'
			  from erasures
			  where position is not null)`

// AddEventTarget has the feed read for a target from now on, unless it is read for it
// already. All that happened before is placed first, which may take a while.
func (s *Store) AddEventTarget(ctx context.Context, name string) error {
	var known bool
	err := s.read(ctx, "look for event target", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &known, `select exists (select from event_targets where name = $1)`, name)
	})
	if err != nil || known {
		return err
	}
	last, err := s.placeAll(ctx)
	if err != nil {
		return err
	}
	return s.read(ctx, "add event target", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `insert into event_targets (name, position) values ($1, $2) on conflict do nothing`, name, last)
		return err
	})
}

// placeAll places what there is when it is called, and returns the last place.
func (s *Store) placeAll(ctx context.Context) (last int64, err error) {
	if last, err = s.PlaceEvents(ctx); err != nil {
		return last, err
	}
	for {
		before := last
		if last, err = s.PlaceEvents(ctx); err != nil || last-before < placedAtOnce {
			return last, err
		}
	}
}

// deliveryRow is an event on its way.
type deliveryRow struct {
	eventRow
	Target   string       `db:"target"`
	Attempts int          `db:"attempts"`
	First    sql.NullTime `db:"first_at"`
	Next     sql.NullTime `db:"next_at"`
	Dead     sql.NullTime `db:"dead_at"`
	Note     string       `db:"note"`
}

func (r deliveryRow) delivery() customer.EventDelivery {
	return customer.EventDelivery{
		Target: r.Target, Event: r.event(), Attempts: r.Attempts, First: utc(r.First), Next: utc(r.Next), Dead: utc(r.Dead), Note: r.Note,
	}
}

const selectDeliveries = `
			select f.position, f.customer_id, f.version, f.at, f.change, f.field, f.to_lifecycle,
			  d.target, d.attempts, d.first_at, d.next_at, d.dead_at, d.note
			from event_deliveries d
			cross join lateral (select * from ` + feedRows + ` f where f.position = d.position) f`

func (s *Store) deliveries(ctx context.Context, doing, rest string, args ...any) ([]customer.EventDelivery, error) {
	var rows []deliveryRow
	err := s.read(ctx, doing, func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, selectDeliveries+rest, args...)
	})
	all := make([]customer.EventDelivery, len(rows))
	for i, r := range rows {
		all[i] = r.delivery()
	}
	return all, err
}

// EventWork returns what there is to do for a target: up to limit events to try
// again, and as many that come next.
func (s *Store) EventWork(ctx context.Context, target string, limit int) (w customer.EventWork, err error) {
	err = s.read(ctx, "read event target", func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `select position, clock_timestamp() from event_targets where name = $1`, target).Scan(&w.Position, &w.Now)
	})
	if err != nil {
		return w, err
	}
	if w.Due, err = s.deliveries(ctx, "read due events", `
			where d.target = $1 and d.next_at <= clock_timestamp()
			order by d.next_at
			limit $2`, target, limit); err != nil {
		return w, err
	}
	if w.Fresh, err = s.Events(ctx, w.Position, limit); err != nil || len(w.Fresh) == 0 {
		return w, err
	}
	w.Waiting, err = s.waitingFor(ctx, target, w.Fresh)
	return w, err
}

func (s *Store) waitingFor(ctx context.Context, target string, events []customer.Event) (map[customer.ID]bool, error) {
	var ids []string
	err := s.read(ctx, "read who waits", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &ids, `
			select distinct customer_id
			from event_deliveries
			where target = $1 and customer_id = any($2::uuid[]) and dead_at is null`, target, keysOf(events).customers)
	})
	waiting := map[customer.ID]bool{}
	for _, id := range ids {
		waiting[customer.ID(id)] = true
	}
	return waiting, err
}

// SettleEvents writes what came of a target's work, all or nothing. Fresh events count
// for nothing if the target was set back meanwhile: they come again.
func (s *Store) SettleEvents(ctx context.Context, fence int64, target string, r customer.EventReport) error {
	return s.inTx(ctx, "settle events", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		moved, err := updated(tx.ExecContext(ctx, `
			update event_targets
			set position = $3
			where name = $1 and position = $2`, target, r.From, r.To))
		if err != nil {
			return err
		}
		if moved > 0 {
			if err := keepFresh(ctx, tx, target, r); err != nil {
				return err
			}
		}
		return settleDue(ctx, tx, target, r.Due)
	})
}

// eventKeys are events turned on their side.
type eventKeys struct {
	customers           pq.StringArray
	versions, positions pq.Int64Array
}

func keysOf(events []customer.Event) (k eventKeys) {
	for _, e := range events {
		k.customers = append(k.customers, string(e.Customer))
		k.versions, k.positions = append(k.versions, e.Version), append(k.positions, e.Position)
	}
	return k
}

// keepFresh keeps the fresh events that were not delivered. Those of a customer that
// was erased since are not there any more.
func keepFresh(ctx context.Context, tx *sqlx.Tx, target string, r customer.EventReport) error {
	if len(r.Failed)+len(r.Behind) == 0 {
		return nil
	}
	var notes pq.StringArray
	var again pq.Float64Array
	events := slices.Clone(r.Behind)
	for range r.Behind {
		notes, again = append(notes, ""), append(again, 0)
	}
	for _, o := range r.Failed {
		events, notes, again = append(events, o.Event), append(notes, o.Note), append(again, o.Again.Seconds())
	}
	_, err := tx.ExecContext(ctx, `
		insert into event_deliveries (target, customer_id, version, position, at, attempts, first_at, next_at, note)
		select $1, f.customer_id, f.version, f.position, f.at,
		  case when o.note <> '' then 1 else 0 end,
		  case when o.note <> '' then clock_timestamp() end,
		  case when o.note <> '' then clock_timestamp() + o.again * interval '1 second' end, o.note
		from unnest($2::bigint[], $3::text[], $4::float8[]) as o(position, note, again)
		cross join lateral (select * from `+feedRows+` f where f.position = o.position) f
		on conflict do nothing`, target, keysOf(events).positions, notes, again)
	return err
}

// settleDue writes what came of events that were tried again, and lets those come that
// were behind one that is out of the way. They may be gone: erased, or set back.
func settleDue(ctx context.Context, tx *sqlx.Tx, target string, outcomes []customer.EventOutcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	var events []customer.Event
	var notes pq.StringArray
	var again pq.Float64Array
	var dead pq.BoolArray
	for _, o := range outcomes {
		events, notes = append(events, o.Event), append(notes, o.Note)
		again, dead = append(again, o.Again.Seconds()), append(dead, o.Dead)
	}
	k := keysOf(events)
	if _, err := tx.ExecContext(ctx, `
		delete from event_deliveries d
		using unnest($2::uuid[], $3::bigint[], $4::text[]) as o(customer_id, version, note)
		where d.target = $1 and d.customer_id = o.customer_id and d.version = o.version and o.note = ''`,
		target, k.customers, k.versions, notes); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `
		update event_deliveries d
		set attempts = d.attempts + 1, first_at = coalesce(d.first_at, clock_timestamp()), note = o.note,
		  next_at = case when not o.dead then clock_timestamp() + o.again * interval '1 second' end,
		  dead_at = case when o.dead then clock_timestamp() end
		from unnest($2::uuid[], $3::bigint[], $4::text[], $5::float8[], $6::bool[]) as o(customer_id, version, note, again, dead)
		where d.target = $1 and d.customer_id = o.customer_id and d.version = o.version and o.note <> ''`,
		target, k.customers, k.versions, notes, again, dead); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		update event_deliveries d
		set next_at = clock_timestamp()
		from (
		  select distinct on (customer_id) customer_id, version, next_at
		  from event_deliveries
		  where target = $1 and customer_id = any($2::uuid[]) and dead_at is null
		  order by customer_id, version) head
		where d.target = $1 and d.customer_id = head.customer_id and d.version = head.version and head.next_at is null`,
		target, k.customers)
	return err
}

// DeadEvents returns up to limit events that were given up, the latest first, of one
// target or of all ("").
func (s *Store) DeadEvents(ctx context.Context, target string, limit int) ([]customer.EventDelivery, error) {
	return s.deliveries(ctx, "read dead events", `
			where d.dead_at is not null and ($1 = '' or d.target = $1)
			order by d.dead_at desc
			limit $2`, target, limit)
}

// EventsSince is the position behind which the events lie that happened since a time,
// and how many they are.
func (s *Store) EventsSince(ctx context.Context, since time.Time) (position int64, n int, err error) {
	if _, err := s.placeAll(ctx); err != nil {
		return 0, 0, err
	}
	err = s.read(ctx, "look for a time in the feed", func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `
			select coalesce(min(position) - 1, (select last from event_feed)), count(*)
			from `+feedRows+` f
			where at >= $1`, since).Scan(&position, &n)
	})
	return position, n, err
}

// ReplayEvents sets targets back, one or all (""), so that all that happened since a
// time is delivered again, and what was given up or waits of it. It returns the targets
// and how many events there are. customer.ErrNotFound if there is no such target.
func (s *Store) ReplayEvents(ctx context.Context, target string, since time.Time) (targets []string, n int, err error) {
	position, n, err := s.EventsSince(ctx, since)
	if err != nil {
		return nil, 0, err
	}
	err = s.inTx(ctx, "replay events", func(tx *sqlx.Tx) error {
		targets = nil
		if err := tx.SelectContext(ctx, &targets, `
			update event_targets
			set position = least(position, $2)
			where $1 = '' or name = $1
			returning name`, target, position); err != nil {
			return err
		}
		if len(targets) == 0 && target != "" {
			return fmt.Errorf("event target: %w", customer.ErrNotFound)
		}
		_, err := tx.ExecContext(ctx, `
			delete from event_deliveries
			where target = any($1) and position > $2`, pq.Array(targets), position)
		return err
	})
	slices.Sort(targets)
	return targets, n, err
}

// mostCounted is how many events without a place are counted.
const mostCounted = 100_000

// EventTargets returns how far the deliveries have come, by target.
func (s *Store) EventTargets(ctx context.Context) ([]customer.EventTarget, error) {
	var rows []struct {
		Name    string       `db:"name"`
		Unread  int64        `db:"unread"`
		Waiting int          `db:"waiting"`
		Dead    int          `db:"dead"`
		Oldest  sql.NullTime `db:"oldest"`
	}
	err := s.read(ctx, "read event targets", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select t.name, f.last - t.position + u.unplaced as unread, d.waiting, d.dead, least(d.oldest, n.at, u.at) as oldest
			from event_targets t
			cross join event_feed f
			cross join lateral (
			  select count(*) filter (where dead_at is null) as waiting, count(dead_at) as dead, min(at) filter (where dead_at is null) as oldest
			  from event_deliveries
			  where target = t.name) d
			left join lateral (
			  select at
			  from history
			  where position > t.position
			  order by position
			  limit 1) n on true
			cross join (
			  select count(*) as unplaced, min(at) as at
			  from (
			    select at
			    from history
			    where `+unplaced+`
			    order by at
			    limit `+strconv.Itoa(mostCounted)+`) h) u
			order by t.name`)
	})
	all := make([]customer.EventTarget, len(rows))
	for i, r := range rows {
		all[i] = customer.EventTarget{Name: r.Name, Unread: r.Unread, Waiting: r.Waiting, Dead: r.Dead, Oldest: utc(r.Oldest)}
	}
	return all, err
}
