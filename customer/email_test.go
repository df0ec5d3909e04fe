package customer

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is taken as it is must be what IDNA would have made of it.
func TestAPlainHostIsItsOwnIDNA(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	labels := []string{"example", "com", "0", "xn", "xn--bcher-kva", "a-b", "a--b", "-a", "a-", "ab--c", "", "É", "bücher", "A", "_dmarc", long, long + "a"}
	rapid.Check(t, func(t *rapid.T) {
		domain := strings.Join(rapid.SliceOfN(rapid.SampledFrom(labels), 0, 5).Draw(t, "labels"), ".")
		if !isPlainHost(domain) {
			return
		}
		if ascii, err := registration.ToASCII(domain); err != nil || ascii != domain {
			t.Fatalf("%q is %q by IDNA: %v", domain, ascii, err)
		}
	})
	if !isPlainHost("mail2.example.com") || isPlainHost("a-b.example.com") {
		t.Error("a plain host is not known for one, or another is")
	}
}
