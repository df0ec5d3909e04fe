package main

import (
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// settled is a history in which less is left open, and that fits an order of acts
// just when the one that was noted does. Each act without an answer may have been done
// at any moment or never, and to try them all takes ever longer; but names are unique,
// and versions count:
//
// A name that was read was given, before that read ended, and made the version that was
// read with it. And if the last read of all shows no more changes than are known, of
// the acts without an answer nobody's name that was never read was given before it:
// they come after all others, or never.
func settled(history []porcupine.Operation) []porcupine.Operation {
	seen, last := sightings(history)
	renames := 0
	some := slices.Clone(history)
	for n := range some {
		o := &some[n]
		a, r := o.Input.(act), o.Output.(reply) //nolint:forcetypeassert // ours
		s, was := seen[a.name]
		if a.op == opRename && was && s.told >= o.Call && (r.status == 0 || r.status == 200) {
			r.status, r.version = 200, s.version
			o.Output, o.Return = r, min(o.Return, s.told)
		}
		if a.op == opRename && r.status == 200 {
			renames++
		}
	}
	if last == nil {
		return some
	}
	end := last.Output.(reply) //nolint:forcetypeassert // ours
	made := int(end.version) - 1
	if end.closed {
		made--
	}
	return slices.DeleteFunc(some, func(o porcupine.Operation) bool {
		a, r := o.Input.(act), o.Output.(reply) //nolint:forcetypeassert // ours
		return r.status == 0 && (a.op == opRename && made == renames || a.op == opClose && !end.closed)
	})
}

// sighting is how a name was read.
type sighting struct {
	version int64 // that was made by giving it
	told    int64 // when the first read of it ended
}

// sightings are those of all names, and the read that began when all acts that were
// answered had been; nil if there is none.
func sightings(history []porcupine.Operation) (seen map[string]sighting, last *porcupine.Operation) {
	seen = map[string]sighting{}
	var ended int64
	for n, o := range history {
		a, r := o.Input.(act), o.Output.(reply) //nolint:forcetypeassert // ours
		if a.op == opRead {
			s, was := seen[r.name]
			version := r.version
			if r.closed {
				version-- // that change was the closing
			}
			if !was {
				s = sighting{version, o.Return}
			}
			seen[r.name] = sighting{min(s.version, version), min(s.told, o.Return)}
			if last == nil || o.Call > last.Call {
				last = &history[n]
			}
		}
	}
	for _, o := range history {
		if last != nil && o.Call != last.Call && o.Return != math.MaxInt64 {
			ended = max(ended, o.Return)
		}
	}
	if last != nil && last.Call < ended {
		last = nil
	}
	return seen, last
}
