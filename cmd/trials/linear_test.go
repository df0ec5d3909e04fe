package main

import (
	"strings"
	"testing"
	"time"
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
		if wrong := p.judge(); (wrong == "") != c.fits || !c.fits && !strings.Contains(wrong, "fits no order") {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}
