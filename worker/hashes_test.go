package worker

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestHashesHaveWhatWasAddedAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type pair = [2]string
		texts := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) pair {
			return pair{rapid.StringN(0, 9, -1).Draw(t, "first"), rapid.StringN(0, 9, -1).Draw(t, "second")}
		}), func(p pair) pair { return p }).Draw(t, "texts")
		texts = slices.DeleteFunc(texts, func(p pair) bool { return slices.Contains([]byte(p[0]+p[1]), 0) })
		in := rapid.IntRange(0, len(texts)).Draw(t, "in")
		h := newHashes()
		for _, p := range texts[:in] {
			h.add(p[0], p[1])
		}
		h.seal()
		places := map[int]bool{}
		for n, p := range texts {
			i, found := h.place(p[0], p[1])
			if found != (n < in) {
				t.Fatalf("%q of %q: %t", p, texts[:in], found)
			}
			if found {
				places[i] = true
			}
		}
		if len(places) != in {
			t.Fatalf("%d texts have %d places", in, len(places))
		}
	})
	empty := newHashes()
	if empty.seal(); empty.has("") {
		t.Error("nothing has something")
	}
}
