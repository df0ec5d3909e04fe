package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// rounds records what is asked together, and answers each question with twice it.
type rounds struct {
	mu    sync.Mutex
	sizes []int
	begun chan struct{} // told of each round
	end   chan struct{} // lets one come to its end
	fail  func([]int) error
}

func (r *rounds) do(_ context.Context, questions []int) ([]int, error) {
	r.mu.Lock()
	r.sizes = append(r.sizes, len(questions))
	r.mu.Unlock()
	if r.begun != nil {
		r.begun <- struct{}{}
		<-r.end
	}
	if r.fail != nil {
		if err := r.fail(questions); err != nil {
			return nil, err
		}
	}
	answers := make([]int, len(questions))
	for i, q := range questions {
		answers[i] = 2 * q
	}
	return answers, nil
}

func (t *together[Q, A]) gathered() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

type answered struct {
	question, answer int
	err              error
}

// askAll asks questions while a round with a first one, 0, is under way.
func askAll(t *testing.T, r *rounds, questions ...int) []answered {
	t.Helper()
	r.begun, r.end = make(chan struct{}, 100), make(chan struct{})
	together := &together[int, int]{do: r.do, lanes: 1, most: 100, within: time.Minute}
	all := make(chan answered, 100)
	ask := func(q int) {
		a, err := together.ask(t.Context(), q)
		all <- answered{q, a, err}
	}
	go ask(0)
	<-r.begun
	for _, q := range questions {
		go ask(q)
	}
	for together.gathered() < len(questions) {
		time.Sleep(time.Millisecond)
	}
	close(r.end)
	var got []answered
	for range len(questions) + 1 {
		got = append(got, <-all)
	}
	slices.SortFunc(got, func(a, b answered) int { return a.question - b.question })
	return got[1:]
}

func TestWhoComesWhileARoundIsUnderWayGoesWithTheNext(t *testing.T) {
	t.Parallel()
	var r rounds
	for _, a := range askAll(t, &r, 1, 2, 3, 4, 5) {
		if a.err != nil || a.answer != 2*a.question {
			t.Errorf("%d was answered %d, %v", a.question, a.answer, a.err)
		}
	}
	if !slices.Equal(r.sizes, []int{1, 5}) {
		t.Errorf("rounds of %v, expected 1 and 5", r.sizes)
	}
}

// A panic is one question's error as well: rounds are on goroutines of their own, where
// it would end the process, with all that it serves.
func TestWhatIsWrongWithOneIsNotAnsweredToOthers(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for want, meet := range map[error]func() error{
		wrong:       func() error { return wrong },
		errPanicked: func() error { panic("a bug") },
	} {
		r := rounds{fail: func(questions []int) error {
			if slices.Contains(questions, 2) {
				return meet()
			}
			return nil
		}}
		for _, a := range askAll(t, &r, 1, 2, 3) {
			switch {
			case a.question == 2 && !errors.Is(a.err, want):
				t.Errorf("2 was answered %d, %v, expected %v", a.answer, a.err, want)
			case a.question != 2 && (a.err != nil || a.answer != 2*a.question):
				t.Errorf("%d was answered %d, %v", a.question, a.answer, a.err)
			}
		}
	}
}

func TestWithoutADatabaseNobodyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r := rounds{fail: func([]int) error { return customer.ErrUnavailable }}
	for _, a := range askAll(t, &r, 1, 2, 3) {
		if !errors.Is(a.err, customer.ErrUnavailable) {
			t.Errorf("%d was answered %d, %v", a.question, a.answer, a.err)
		}
	}
	if !slices.Equal(r.sizes, []int{1, 3}) {
		t.Errorf("rounds of %v, expected 1 and 3", r.sizes)
	}
}

func TestWhoGivesUpLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	r := rounds{begun: make(chan struct{}, 10), end: make(chan struct{})}
	asked := &together[int, int]{do: r.do, lanes: 1, most: 100, within: time.Minute}
	impatient, leave := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := asked.ask(impatient, 1)
		left <- err
	}()
	<-r.begun
	go func() {
		a, err := asked.ask(t.Context(), 2)
		if err == nil && a != 4 {
			err = errors.New("a wrong answer")
		}
		stayed <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left was told %v", err)
	}
	close(r.end)
	if err := <-stayed; err != nil {
		t.Errorf("who stayed was told %v", err)
	}
}

func TestAnAnswerThatIsLateIsNone(t *testing.T) {
	t.Parallel()
	r := rounds{begun: make(chan struct{}, 10), end: make(chan struct{})}
	asked := &together[int, int]{do: r.do, lanes: 1, most: 100, within: time.Millisecond}
	if _, err := asked.ask(t.Context(), 1); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("told %v", err)
	}
	close(r.end)
}

func TestALargeCrowdIsAnsweredInRoundsOfTheMost(t *testing.T) {
	t.Parallel()
	r := &rounds{}
	asked := &together[int, int]{do: r.do, lanes: 3, most: 7, within: time.Minute}
	var crowd sync.WaitGroup
	for q := range 1000 {
		crowd.Go(func() {
			if a, err := asked.ask(t.Context(), q); err != nil || a != 2*q {
				t.Errorf("%d was answered %d, %v", q, a, err)
			}
		})
	}
	crowd.Wait()
	if slices.Max(r.sizes) > 7 {
		t.Errorf("a round of %d", slices.Max(r.sizes))
	}
}
