package worker

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// partApart tells one part of a text from the next: ("a", "b") is not ("b", "a").
const partApart = 0x9e3779b97f4a7c15 // odd, so that nothing is lost of what it multiplies

// hashes is a set of texts that takes eight bytes for each, however long they are.
// A text whose hash happens to be another's is taken for that one: of ten million
// texts there are such by a chance of one in a hundred thousand, and by another the
// next time, for each set has a seed of its own.
type hashes struct {
	seed   maphash.Seed
	sorted []uint64 // once they are sealed
	first  []uint32 // where those begin that have the same first bits: some eight
	shift  int      // what makes the first bits of a hash
}

func newHashes() hashes { return hashes{seed: maphash.MakeSeed()} }

// add takes in a text that has these parts; none is found until seal.
func (h *hashes) add(parts ...string) { h.sorted = append(h.sorted, h.hash(parts)) }

// seal makes what was added ready to be found. A binary search in a million of them
// was 15 % of a full reconcile's own processor time.
func (h *hashes) seal() {
	slices.Sort(h.sorted)
	width := max(bits.Len(uint(len(h.sorted)))-3, 1)
	h.first, h.shift = make([]uint32, 1<<width+1), 64-width
	for _, hash := range h.sorted {
		h.first[hash>>h.shift+1]++
	}
	for i := range len(h.first) - 1 {
		h.first[i+1] += h.first[i]
	}
}

// place is where the text with these parts is among all, if it is in the set.
func (h *hashes) place(parts ...string) (int, bool) {
	hash := h.hash(parts)
	begin, end := h.first[hash>>h.shift], h.first[hash>>h.shift+1]
	i := slices.Index(h.sorted[begin:end], hash)
	return int(begin) + i, i >= 0
}

func (h *hashes) has(parts ...string) bool {
	_, found := h.place(parts...)
	return found
}

func (h *hashes) hash(parts []string) (sum uint64) {
	for _, part := range parts {
		sum = sum*partApart ^ maphash.String(h.seed, part)
	}
	return sum
}
