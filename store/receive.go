package store

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Receive puts authentic deliveries into the inbox, all or none; once it returns
// without an error they are not lost. fresh is false for those that were there
// already. What comes at the same time is written, and waits for the disk,
// together.
func (s *Store) Receive(ctx context.Context, deliveries ...customer.Delivery) (fresh []bool, err error) {
	defer s.traced(ctx, "receive")()
	return s.receiving.ask(ctx, deliveries)
}

const (
	// receiveLanes is two: one gathers while the other waits for the disk. More would
	// wait for each other, since commits that notify go one by one.
	receiveLanes = 2
	receiveMost  = 200 // requests in a round; most bring one delivery
)

func (s *Store) receiver() *together[[]customer.Delivery, []bool] {
	return &together[[]customer.Delivery, []bool]{lanes: receiveLanes, most: receiveMost, within: s.patience, do: func(ctx context.Context, requests [][]customer.Delivery) (answers [][]bool, err error) {
		var all []customer.Delivery
		for _, deliveries := range requests {
			all = append(all, deliveries...)
		}
		var fresh []bool
		err = s.read(ctx, "receive deliveries", func(ctx context.Context) (err error) {
			fresh, err = s.receive(ctx, s.db, all)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, deliveries := range requests {
			answers = append(answers, fresh[:len(deliveries):len(deliveries)])
			fresh = fresh[len(deliveries):]
		}
		return answers, nil
	}}
}

// receive writes deliveries in their order, in a transaction or by itself, and
// says which of them were not there yet.
//
// One that names somebody of an erased customer is noted as done, without the name.
func (s *Store) receive(ctx context.Context, db sqlx.QueryerContext, deliveries []customer.Delivery) (fresh []bool, err error) {
	if len(deliveries) == 0 {
		return nil, nil
	}
	c := deliveryColumns{erase: s.erase}
	for _, d := range deliveries {
		if err := c.add(d); err != nil {
			return nil, err
		}
	}
	var made []struct {
		Source  string `db:"source"`
		EventID string `db:"event_id"`
	}
	err = sqlx.SelectContext(ctx, db, &made, prepared+`
		with came as (
		  select *
		  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[],
		    $9::text[], $10::bool[], $11::bool[], $12::bytea[], $13::bool[])
		    with ordinality as c(source, event_id, kind, state, user_id, email, email_key, customer_id,
		    identities, deleted, actionable, body, partial, place)
		), barred as (
		  select a.place, a.name
		  from unnest($14::int[], $15::text[], $16::bytea[]) a(place, name, hash)
		  join erased_names e on e.hash = a.hash
		), known as (
		  select c.source, c.event_id, c.kind, c.state, c.user_id, c.email, c.email_key, c.customer_id,
		    array(select i from unnest(c.identities::text[]) i where (c.place, i) not in (select place, name from barred)) as identities,
		    c.deleted, c.actionable, c.body, c.partial, c.place
		  from came c
		  where not exists (select from barred b where b.place = c.place and b.name in (c.user_id, c.email_key))
		  union all
		  select source, event_id, kind, 'done', null, null, null, null, '{}', deleted, actionable, null, partial, place
		  from came c
		  where exists (select from barred b where b.place = c.place and b.name in (c.user_id, c.email_key))
		), taken as (
		  insert into inbox (source, event_id, kind, state, hint_auth_user_id, hint_email, hint_email_key,
		    hint_customer_id, hint_identities, deleted, actionable, body, partial)
		  select source, event_id, kind, state, user_id, email, email_key,
		    customer_id, identities, deleted, actionable, case when state = 'quarantined' then body end, partial
		  from known
		  order by place
		  on conflict on constraint inbox_once do nothing
		  returning source, event_id, state
		), told as (
		  select pg_notify('`+channel+`', '')
		  where exists (select from taken where state = 'new')
		)
		select t.source, t.event_id
		from taken t
		left join told on true`, c.arguments()...)
	if err != nil {
		return nil, err
	}
	type name struct{ source, id string }
	unclaimed := map[name]bool{}
	for _, m := range made {
		unclaimed[name{m.Source, m.EventID}] = true
	}
	fresh = make([]bool, len(deliveries))
	for i, d := range deliveries { // of two alike the first is the one that was written
		n := name{d.Source, d.EventID}
		fresh[i] = unclaimed[n]
		delete(unclaimed, n)
	}
	return fresh, nil
}

// deliveryColumns are deliveries turned on their side.
type deliveryColumns struct {
	sources, events, kinds, states, identities []string
	users, emails, keys, customers             []sql.NullString
	deleted, actionable, partial               []bool
	bodies                                     [][]byte

	erase  eraseKeys
	places pq.Int64Array // of the names asked for
	names  suspects
}

func (c *deliveryColumns) add(d customer.Delivery) error {
	state, body := "new", []byte(nil)
	if !d.Understood {
		state, body = "quarantined", d.Body
	}
	identities, err := pq.StringArray(d.Hint.Identities).Value()
	if err != nil {
		return err
	}
	text, _ := identities.(string) // nil: none
	if text == "" {
		text = "{}"
	}
	c.sources, c.events, c.kinds = append(c.sources, d.Source), append(c.events, d.EventID), append(c.kinds, d.Kind)
	c.states, c.bodies, c.identities = append(c.states, state), append(c.bodies, body), append(c.identities, text)
	c.users, c.emails = append(c.users, null(d.Hint.AuthUserID)), append(c.emails, null(d.Hint.Email))
	c.keys, c.customers = append(c.keys, null(string(d.Hint.Key))), append(c.customers, null(string(d.Hint.CustomerID)))
	c.deleted, c.actionable = append(c.deleted, d.Hint.Deleted), append(c.actionable, d.Hint.Actionable())
	c.partial = append(c.partial, d.Hint.Partial)
	c.ask(userName, d.Hint.AuthUserID)
	c.ask(userName, d.Hint.Identities...)
	c.ask(emailName, string(d.Hint.Key))
	return nil
}

// ask has it asked whether the last delivery names somebody who was erased.
func (c *deliveryColumns) ask(kind string, names ...string) {
	a := c.erase.ask(kind, names...)
	for range a.names {
		c.places = append(c.places, int64(len(c.sources)))
	}
	c.names.names, c.names.hashes = append(c.names.names, a.names...), append(c.names.hashes, a.hashes...)
}

func (c *deliveryColumns) arguments() []any {
	return []any{
		pq.Array(c.sources), pq.Array(c.events), pq.Array(c.kinds), pq.Array(c.states), pq.Array(c.users), pq.Array(c.emails),
		pq.Array(c.keys), pq.Array(c.customers), pq.Array(c.identities), pq.Array(c.deleted), pq.Array(c.actionable),
		pq.Array(c.bodies), pq.Array(c.partial),
		c.places, c.names.names, c.names.hashes,
	}
}
