package main

import "testing"

func TestALeakIsNoticed(t *testing.T) {
	t.Parallel()
	flat := func(int) level { return level{memory: 60e6, goroutines: 30, files: 20} }
	for name, c := range map[string]struct {
		leaks int
		at    func(round int) level
	}{
		"flat": {0, flat},
		"a cache that fills": {0, func(n int) level {
			v := flat(n)
			v.memory += float64(min(n, 10)) * 5e6
			return v
		}},
		"a moment": {0, func(n int) level {
			v := flat(n)
			if n == 99 {
				v = level{memory: 900e6, goroutines: 500, files: 500}
			}
			return v
		}},
		"half a megabyte a round":   {1, func(n int) level { return level{60e6 + float64(n)*5e5, 30, 20} }},
		"a goroutine each 3 rounds": {1, func(n int) level { return level{60e6, 30 + float64(n/3), 20} }},
		"a file each 3 rounds":      {1, func(n int) level { return level{60e6, 30, 20 + float64(n/3)} }},
	} {
		var levels []level
		for n := range 100 {
			levels = append(levels, c.at(n))
		}
		if found := leaks(levels); len(found) != c.leaks {
			t.Errorf("%s: %q", name, found)
		}
	}
}
