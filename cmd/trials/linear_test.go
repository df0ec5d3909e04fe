package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// deed is an act from one moment until another, with what it was answered.
type deed struct {
	asked, told int
	act
	reply
}

func read(asked, told int, name string, version int64) deed {
	return deed{asked, told, act{op: opRead}, reply{200, register{name: name, version: version}}}
}

func rename(asked, told int, name string, ifMatch int64, status int) deed {
	return deed{asked, told, act{opRename, name, ifMatch}, reply{status: status}}
}

func closing(asked, told, status int) deed {
	return deed{asked, told, act{op: opClose}, reply{status: status}}
}

func TestTheModelRefusesWhatNoOrderExplains(t *testing.T) {
	t.Parallel()
	const lost = 0
	for name, c := range map[string]struct {
		fits  bool
		deeds []deed
	}{
		"nothing":                         {true, nil},
		"one after the other":             {true, []deed{rename(0, 1, "A", 0, 200), read(2, 3, "A", 2), rename(4, 5, "B", 2, 200), read(6, 7, "B", 3)}},
		"a read meets a rename":           {true, []deed{rename(0, 5, "A", 0, 200), read(1, 2, "A", 2)}},
		"a read before a rename's effect": {true, []deed{rename(0, 5, "A", 0, 200), read(1, 2, "Ada", 1)}},
		"a stale read":                    {false, []deed{rename(0, 1, "A", 0, 200), read(2, 3, "Ada", 1)}},
		"two reads that go back":          {false, []deed{rename(0, 9, "A", 0, 200), read(1, 2, "A", 2), read(3, 4, "Ada", 1)}},
		"a lost write":                    {false, []deed{rename(0, 1, "A", 0, 200), rename(2, 3, "B", 0, 200), read(4, 5, "B", 2)}},
		"a write done twice":              {false, []deed{rename(0, 9, "A", 0, 200), read(1, 2, "A", 2), rename(3, 4, "B", 0, 200), read(10, 11, "A", 4)}},
		"a write from nowhere":            {false, []deed{read(0, 1, "B", 2)}},
		"no answer, and done":             {true, []deed{rename(0, 1, "A", 0, lost), read(2, 3, "A", 2)}},
		"no answer, and done late":        {true, []deed{rename(0, 1, "A", 0, lost), read(2, 3, "Ada", 1), read(4, 5, "A", 2)}},
		"no answer, and never done":       {true, []deed{rename(0, 1, "A", 0, lost), read(2, 3, "Ada", 1)}},
		"no answer, and undone":           {false, []deed{rename(0, 1, "A", 0, lost), read(2, 3, "A", 2), read(4, 5, "Ada", 1)}},
		"no answer, and done twice":       {false, []deed{rename(0, 1, "A", 0, lost), read(2, 3, "A", 2), rename(4, 5, "B", 0, 200), read(6, 7, "A", 4)}},
		"a stale condition":               {true, []deed{rename(0, 1, "A", 0, 200), rename(2, 3, "B", 1, 412)}},
		"a true condition refused":        {false, []deed{rename(0, 1, "A", 0, 200), rename(2, 3, "B", 2, 412)}},
		"a stale condition accepted":      {false, []deed{rename(0, 1, "A", 0, 200), rename(2, 3, "B", 1, 200)}},
		"refused, and done":               {false, []deed{rename(0, 1, "A", 1, 412), read(2, 3, "A", 2)}},
		"closed":                          {true, []deed{closing(0, 1, 200), closing(2, 3, 200), rename(4, 5, "A", 0, 409)}},
		"closed, and renamed":             {false, []deed{closing(0, 1, 200), rename(2, 3, "A", 0, 200)}},
		"closed, and open again":          {false, []deed{closing(0, 1, 200), read(2, 3, "Ada", 1)}},
		"open, and refused as closed":     {false, []deed{rename(0, 1, "A", 0, 409)}},
	} {
		p := person{born: register{name: "Ada", version: 1}}
		for n, d := range c.deeds {
			p.note(n, d.act, time.Duration(d.asked), d.reply, time.Duration(d.told))
		}
		if got := porcupine.CheckOperations(oneCustomer(p.born), p.history); got != c.fits {
			t.Errorf("%s: fits, as it was noted: %v", name, got)
		}
		if wrong := p.judge(); (wrong == "") != c.fits || !c.fits && !strings.Contains(wrong, "fits no order") {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}

// lived is what some clients were told of a customer who did live: acts done one after
// the other, each at some moment between question and answer, if it has one.
func lived(dice *rand.Rand, acts int) (deeds []deed) {
	now := register{name: "Ada", version: 1}
	for n := range acts {
		at := 10 * (n + 1)
		d := deed{asked: at - dice.IntN(30), told: at + dice.IntN(30), act: act{op: opRead}}
		switch chance := dice.IntN(20); {
		case chance == 0:
			d.op = opClose
		case chance < 12:
			d.op, d.name = opRename, fmt.Sprintf("Ada %d", n)
			if dice.IntN(2) == 0 {
				d.ifMatch = now.version - int64(dice.IntN(2))
			}
		}
		d.status = 200
		if ok, _ := step(now, d.act, d.reply); d.op == opRename && !ok {
			if d.status = 409; d.ifMatch != 0 && d.ifMatch != now.version {
				d.status = 412
			}
		}
		if d.op == opRead {
			d.register = now
		}
		done := true
		if d.op != opRead && dice.IntN(4) == 0 {
			d.status, done = 0, dice.IntN(2) == 0
		}
		if done {
			_, now = step(now, d.act, reply{})
		}
		deeds = append(deeds, d)
	}
	if dice.IntN(2) == 0 {
		deeds = append(deeds, deed{asked: 10 * (acts + 10), told: 10*(acts+10) + 1, act: act{op: opRead}, reply: reply{200, now}})
	}
	return deeds
}

// One deed of a life is told wrongly.
func tellWrongly(dice *rand.Rand, deeds []deed) {
	switch d := &deeds[dice.IntN(len(deeds))]; {
	case d.op == opRead && dice.IntN(2) == 0:
		d.version += int64(1 - 2*dice.IntN(2))
	case d.op == opRead:
		d.name = "Ada 1"
	default:
		d.status = []int{200, 409, 412}[dice.IntN(3)]
	}
}

func TestWhatIsSettledFitsJustWhenAllDoes(t *testing.T) {
	t.Parallel()
	fit := map[bool]int{}
	for seed := range uint64(1000) {
		dice := rand.New(rand.NewPCG(seed, 0))
		deeds := lived(dice, 12)
		honest := seed%2 == 0
		if !honest {
			tellWrongly(dice, deeds)
		}
		p := person{born: register{name: "Ada", version: 1}}
		for n, d := range deeds {
			p.note(n, d.act, time.Duration(d.asked), d.reply, time.Duration(d.told))
		}
		all := porcupine.CheckOperations(oneCustomer(p.born), p.history)
		if settled := porcupine.CheckOperations(oneCustomer(p.born), settled(p.history)); settled != all {
			t.Fatalf("seed %d: fits %v, settled %v: %+v", seed, all, settled, p.history)
		}
		if honest && !all {
			t.Fatalf("seed %d: a true life fits no order", seed)
		}
		fit[all]++
	}
	if fit[false] < 150 {
		t.Errorf("only %d of the lives that are told wrongly fit no order", fit[false])
	}
}

// Acts without an answer must not take for ever to judge: here none of forty was done.
func TestActsWithoutAnAnswerAreJudgedInTime(t *testing.T) {
	t.Parallel()
	p := person{born: register{name: "Ada", version: 1}}
	for n := range 40 {
		p.note(n, act{op: opRename, name: fmt.Sprint("lost ", n)}, time.Duration(n), reply{}, 0)
	}
	for n := range 100 {
		name, at := fmt.Sprint("known ", n), time.Duration(100+100*n)
		p.note(100, act{op: opRename, name: name}, at, reply{status: 200}, at+30)
		p.note(101, act{op: opRead}, at+40, reply{200, register{name: name, version: int64(n + 2)}}, at+45)
	}
	if wrong := p.judge(); wrong != "" {
		t.Error(wrong)
	}
}
