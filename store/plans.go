package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// planRow is a plan as the table holds it.
type planRow struct {
	ID      int64         `db:"id"`
	AskedAt time.Time     `db:"asked_at"`
	AskedBy string        `db:"asked_by"`
	Why     string        `db:"why"`
	State   string        `db:"state"`
	HeardAt time.Time     `db:"heard_at"`
	Silent  bool          `db:"silent"`
	Run     sql.NullInt64 `db:"run_id"`
	Users   int           `db:"users"`
	Total   int           `db:"total"`
	Note    string        `db:"note"`
	Open    int           `db:"open"`
	Chosen  int           `db:"chosen"`
	Done    int           `db:"done"`
	Refused int           `db:"refused"`
}

// silent is true of a plan whose maker has not been heard of for so long that its
// process is gone, or cut off. It says so every few seconds (package planning).
const silent = `(state in ('making', 'applying') and heard_at < clock_timestamp() - interval '30 seconds')`

// StartPlan makes room for a plan that is to be made, in the place of all others. Its
// error is customer.ErrPlanBusy while one is being made or applied.
func (s *Store) StartPlan(ctx context.Context, by, why string) (id int64, err error) {
	err = s.inTx(ctx, "start plan", func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			update plans
			set state = 'failed', note = 'its process ended without a word'
			where `+silent); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `delete from plans where state not in ('making', 'applying')`); err != nil {
			return err
		}
		return tx.GetContext(ctx, &id, `
			insert into plans (asked_by, why, state)
			values ($1, $2, 'making')
			returning id`, by, why)
	})
	return id, err
}

// PlanHeard says that the maker of a plan is alive and how far it is; users and total
// as of customer.Plan.
func (s *Store) PlanHeard(ctx context.Context, id, run int64, users, total int) error {
	return s.read(ctx, "note progress of plan", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			update plans
			set heard_at = clock_timestamp(), run_id = coalesce($2, run_id), users = $3, total = $4
			where id = $1 and state in ('making', 'applying')`, id, nullInt(run), users, total)
		return err
	})
}

// AddToPlan writes rows of a plan that is being made; those of a customer that was
// erased meanwhile are left out.
func (s *Store) AddToPlan(ctx context.Context, id int64, rows []customer.PlanRow) error {
	n := len(rows)
	places, versions := make([]int64, n), make([]int64, n)
	ids, actions, users := make([]string, n), make([]string, n), make([]string, n)
	for i, r := range rows {
		places[i], versions[i] = int64(r.Place), r.Version
		ids[i], actions[i], users[i] = string(r.Customer), r.Action, r.AuthUserID
	}
	return s.read(ctx, "write plan", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			insert into plan_rows (plan_id, place, customer_id, version, action, auth_user_id)
			select $1, r.place, r.customer_id, r.version, r.action, r.auth_user_id
			from unnest($2::int[], $3::uuid[], $4::bigint[], $5::text[], $6::text[])
			  as r(place, customer_id, version, action, auth_user_id)
			join customers c on c.id = r.customer_id
			on conflict (plan_id, place) do nothing`,
			id, pq.Array(places), pq.Array(ids), pq.Array(versions), pq.Array(actions), pq.Array(users))
		return err
	})
}

// EndPlan says that a plan was made, or applied as far as that went: state is
// customer.PlanReady or customer.PlanFailed, note what went wrong.
func (s *Store) EndPlan(ctx context.Context, id int64, state customer.PlanState, note string) error {
	return s.read(ctx, "end plan", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			update plans
			set state = $2, note = $3, heard_at = clock_timestamp()
			where id = $1 and state in ('making', 'applying')`, id, string(state), note)
		return err
	})
}

// Plan returns the newest plan, or customer.ErrNotFound.
func (s *Store) Plan(ctx context.Context) (customer.Plan, error) {
	var r planRow
	err := s.read(ctx, "read plan", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &r, `
			select p.id, asked_at, asked_by, why, state, heard_at, run_id, users, total, note, `+silent+` as silent,
			  coalesce(open, 0) as open, coalesce(chosen, 0) as chosen, coalesce(done, 0) as done, coalesce(refused, 0) as refused
			from (select * from plans order by id desc limit 1) p
			left join lateral (
			  select count(*) filter (where outcome = '') as open, count(*) filter (where outcome = 'chosen') as chosen,
			    count(*) filter (where outcome = 'done') as done, count(*) filter (where outcome not in ('', 'chosen', 'done')) as refused
			  from plan_rows
			  where plan_id = p.id) rows on true`)
	})
	return customer.Plan{
		ID: r.ID, AskedAt: r.AskedAt.UTC(), AskedBy: r.AskedBy, Why: r.Why, State: customer.PlanState(r.State), HeardAt: r.HeardAt.UTC(), Silent: r.Silent,
		Run: r.Run.Int64, Users: r.Users, Total: r.Total, Note: r.Note, Open: r.Open, Chosen: r.Chosen, Done: r.Done, Refused: r.Refused,
	}, err
}

// PlanRows returns up to limit rows of a plan behind a place, in their order, with the
// customers as they are now.
func (s *Store) PlanRows(ctx context.Context, id int64, after, limit int) ([]customer.PlanRow, error) {
	return s.planRows(ctx, `
		select r.place, r.customer_id, r.version, r.action, r.auth_user_id, r.outcome, c.first_name, c.last_name, c.email_address
		from plan_rows r
		join customers c on c.id = r.customer_id
		where r.plan_id = $1 and r.place > $2
		order by r.place
		limit $3`, id, after, limit)
}

// ChosenRows returns up to limit rows of a plan that are to be done.
func (s *Store) ChosenRows(ctx context.Context, id int64, limit int) ([]customer.PlanRow, error) {
	return s.planRows(ctx, `
		select r.place, r.customer_id, r.version, r.action, r.auth_user_id, r.outcome, '' as first_name, '' as last_name, null as email_address
		from plan_rows r
		where r.plan_id = $1 and r.outcome = 'chosen'
		order by r.place
		limit $2`, id, limit)
}

func (s *Store) planRows(ctx context.Context, query string, args ...any) ([]customer.PlanRow, error) {
	var rows []struct {
		Place      int            `db:"place"`
		Customer   string         `db:"customer_id"`
		Version    int64          `db:"version"`
		Action     string         `db:"action"`
		AuthUserID string         `db:"auth_user_id"`
		Outcome    string         `db:"outcome"`
		FirstName  string         `db:"first_name"`
		LastName   string         `db:"last_name"`
		Address    sql.NullString `db:"email_address"`
	}
	err := s.read(ctx, "read plan", func(ctx context.Context) error { return s.db.SelectContext(ctx, &rows, query, args...) })
	all := make([]customer.PlanRow, len(rows))
	for i, r := range rows {
		all[i] = customer.PlanRow{
			Place: r.Place, Customer: customer.ID(r.Customer), Version: r.Version, Action: r.Action, AuthUserID: r.AuthUserID, Outcome: r.Outcome,
			FirstName: r.FirstName, LastName: r.LastName, Address: r.Address.String,
		}
	}
	return all, err
}

// ChooseRows says that a plan is to be applied: the rows at these places, be it that
// they were refused before; nil: all that nobody asked for yet. What was chosen and not
// come to is chosen still. Errors:
// customer.ErrNotFound if there is no such plan, customer.ErrPlanBusy unless it is
// ready, or nobody is heard of any more who made or applied it.
func (s *Store) ChooseRows(ctx context.Context, id int64, places []int64) error {
	return s.inTx(ctx, "choose of plan", func(tx *sqlx.Tx) error {
		var state string
		if err := tx.GetContext(ctx, &state, `
			select case when state = 'applying' and `+silent+` then 'ready' else state end
			from plans
			where id = $1
			for update`, id); err != nil {
			return err
		}
		if state != string(customer.PlanReady) {
			return customer.ErrPlanBusy
		}
		if _, err := tx.ExecContext(ctx, `
			update plans
			set state = 'applying', heard_at = clock_timestamp(), note = ''
			where id = $1`, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			update plan_rows
			set outcome = 'chosen'
			where plan_id = $1 and outcome <> 'done'
			  and ($2::int[] is null and outcome = '' or place = any($2))`, id, pq.Array(places))
		return err
	})
}

// SettleRows writes what became of rows of a plan, by their place.
func (s *Store) SettleRows(ctx context.Context, id int64, outcomes map[int]string) error {
	places, texts := make([]int64, 0, len(outcomes)), make([]string, 0, len(outcomes))
	for place, text := range outcomes {
		places, texts = append(places, int64(place)), append(texts, text)
	}
	return s.read(ctx, "settle plan", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			update plan_rows r
			set outcome = o.outcome
			from unnest($2::int[], $3::text[]) as o(place, outcome)
			where r.plan_id = $1 and r.place = o.place`, id, pq.Array(places), pq.Array(texts))
		return err
	})
}
