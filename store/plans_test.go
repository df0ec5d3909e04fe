package store_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// planned makes a plan of four rows that is ready.
func planned(t testing.TB, s *store.Store) (plan int64, rows []customer.PlanRow) {
	t.Helper()
	plan, err := s.StartPlan(t.Context(), "Joan", "the night shift")
	must(t, err)
	for i, address := range []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com"} {
		rows = append(rows, customer.PlanRow{Place: i + 1, Customer: create(t, s, address), Version: 1, Action: "link", AuthUserID: "auth0|" + address})
	}
	must(t, s.AddToPlan(t.Context(), plan, rows))
	must(t, s.AddToPlan(t.Context(), plan, rows)) // an answer that was lost
	must(t, s.EndPlan(t.Context(), plan, customer.PlanReady, ""))
	return plan, rows
}

func outcomes(t testing.TB, s *store.Store, plan int64) (all []string) {
	t.Helper()
	for after := 0; ; { // by twos, as pages go
		rows, err := s.PlanRows(t.Context(), plan, after, 2)
		must(t, err)
		if len(rows) == 0 {
			return all
		}
		for _, r := range rows {
			all = append(all, r.Outcome)
			after = r.Place
		}
	}
}

func TestRowsOfAPlanAreChosenAndSettled(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	if _, err := s.Plan(t.Context()); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("before any: %v", err)
	}
	plan, rows := planned(t, s)
	steps := []struct {
		places []int64
		settle map[int]string
		want   []string
		counts [4]int // open, chosen, done, refused
	}{
		{[]int64{2, 3}, map[int]string{2: customer.OutcomeDone, 3: "it moved"}, []string{"", "done", "it moved", ""}, [4]int{2, 0, 1, 1}},
		{[]int64{2, 3}, map[int]string{3: "it moved again"}, []string{"", "done", "it moved again", ""}, [4]int{2, 0, 1, 1}}, // what is done is not done again
		{nil, map[int]string{1: customer.OutcomeDone}, []string{"done", "done", "it moved again", "chosen"}, [4]int{0, 1, 2, 1}},
	}
	for i, step := range steps {
		must(t, s.ChooseRows(t.Context(), plan, step.places))
		if err := s.ChooseRows(t.Context(), plan, nil); !errors.Is(err, customer.ErrPlanBusy) {
			t.Errorf("step %d: twice at once: %v", i, err)
		}
		if _, err := s.StartPlan(t.Context(), "Sam", "another"); !errors.Is(err, customer.ErrPlanBusy) {
			t.Errorf("step %d: another one meanwhile: %v", i, err)
		}
		must(t, s.SettleRows(t.Context(), plan, step.settle))
		must(t, s.EndPlan(t.Context(), plan, customer.PlanReady, "as it goes"))
		if diff := cmp.Diff(step.want, outcomes(t, s, plan)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		p, err := s.Plan(t.Context())
		must(t, err)
		if got := [4]int{p.Open, p.Chosen, p.Done, p.Refused}; got != step.counts || p.Note != "as it goes" || p.AskedBy != "Joan" || p.Changes() != len(rows) {
			t.Errorf("step %d: %+v", i, p)
		}
	}
	chosen, err := s.ChosenRows(t.Context(), plan, 10)
	if err != nil || len(chosen) != 1 || chosen[0].Place != 4 || chosen[0].AuthUserID != rows[3].AuthUserID {
		t.Errorf("what was chosen and not come to: %+v, %v", chosen, err)
	}
	if err := s.ChooseRows(t.Context(), plan+1, nil); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("of no plan: %v", err)
	}
	next, err := s.StartPlan(t.Context(), "Sam", "another")
	must(t, err)
	if p, err := s.Plan(t.Context()); err != nil || p.ID != next || p.Changes() != 0 || len(outcomes(t, s, plan)) != 0 {
		t.Errorf("the next takes its place: %+v, %v", p, err)
	}
}

func TestAPlanWhoseMakerIsGoneIsNoObstacle(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer()})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	db, err := sql.Open("postgres", dsn)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	silence := func() {
		t.Helper()
		_, err := db.ExecContext(t.Context(), `update plans set heard_at = heard_at - interval '1 minute'`)
		must(t, err)
		if p, err := s.Plan(t.Context()); err != nil || !p.Silent {
			t.Errorf("it is not told as gone: %+v, %v", p, err)
		}
	}
	first, err := s.StartPlan(t.Context(), "Joan", "x")
	must(t, err)
	must(t, s.PlanHeard(t.Context(), first, 7, 3, 9))
	if p, err := s.Plan(t.Context()); err != nil || p.Silent || p.Run != 7 || p.Users != 3 || p.Total != 9 || p.State != customer.PlanMaking {
		t.Errorf("under way: %+v, %v", p, err)
	}
	silence()
	if err := s.ChooseRows(t.Context(), first, nil); !errors.Is(err, customer.ErrPlanBusy) {
		t.Errorf("half a plan is applied: %v", err)
	}
	plan, _ := planned(t, s) // in its place
	if err := s.AddToPlan(t.Context(), first, []customer.PlanRow{{Place: 1, Customer: create(t, s, "late@example.com"), Action: "link"}}); err == nil {
		t.Error("the one who was thought gone goes on writing")
	}
	must(t, s.EndPlan(t.Context(), first, customer.PlanReady, "")) // hits nothing
	must(t, s.ChooseRows(t.Context(), plan, []int64{1}))
	silence()
	must(t, s.ChooseRows(t.Context(), plan, []int64{2}))
	if diff := cmp.Diff([]string{"chosen", "chosen", "", ""}, outcomes(t, s, plan)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
