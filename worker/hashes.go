package worker

import (
	"hash/maphash"
	"slices"
)

// hashes is a set of texts that takes eight bytes for each, however long they are.
// A text whose hash happens to be another's is taken for that one: of ten million
// texts there are such by a chance of one in a hundred thousand, and by another the
// next time, for each set has a seed of its own.
type hashes struct {
	seed   maphash.Seed
	sorted []uint64 // once they are sealed
}

func newHashes() hashes { return hashes{seed: maphash.MakeSeed()} }

// add takes in a text that has these parts; none is found until seal.
func (h *hashes) add(parts ...string) { h.sorted = append(h.sorted, h.hash(parts)) }

func (h *hashes) seal() { slices.Sort(h.sorted) }

// place is where the text with these parts is among all, if it is in the set.
func (h *hashes) place(parts ...string) (int, bool) {
	return slices.BinarySearch(h.sorted, h.hash(parts))
}

func (h *hashes) has(parts ...string) bool {
	_, found := h.place(parts...)
	return found
}

func (h *hashes) hash(parts []string) uint64 {
	var sum maphash.Hash
	sum.SetSeed(h.seed)
	for _, part := range parts {
		_, _ = sum.WriteString(part) // never fails
		_ = sum.WriteByte(0)         // never fails; no name has it
	}
	return sum.Sum64()
}
