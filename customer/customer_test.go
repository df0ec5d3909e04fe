package customer_test

import (
	"encoding/xml"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/ahiko-io/customersync/customer"
)

func TestAddressesWithTheSameKeyAreTheSame(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ a, b string }{
		"letters A to Z in any case":    {"Ada.Lovelace@Example.COM", "ada.lovelace@example.com"},
		"space around":                  {"  ada@example.com\t", "ada@example.com"},
		"a domain outside ASCII":        {"ada@bücher.de", "ada@xn--bcher-kva.de"},
		"that domain's ASCII form in A": {"ada@XN--bcher-KVA.de", "ada@xn--bcher-kva.de"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, errA := customer.ParseEmail(test.a)
			b, errB := customer.ParseEmail(test.b)
			if err := errors.Join(errA, errB); err != nil || a.Key != b.Key || !a.Key.Matchable() {
				t.Errorf("%q and %q: %v", a.Key, b.Key, err)
			}
		})
	}
}

func TestStrangersKeepTheirOwnKeys(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ a, b string }{
		"KELVIN SIGN is not k":       {"\u212Aim@example.com", "kim@example.com"},
		"long s is not s":            {"\u017Fam@example.com", "sam@example.com"},
		"dotted capital I is not i":  {"\u0130an@example.com", "ian@example.com"},
		"full width is not ASCII":    {"\uFF41da@example.com", "ada@example.com"},
		"a dot is not nothing":       {"a.da@example.com", "ada@example.com"},
		"a plus tag is not nothing":  {"ada+shop@example.com", "ada@example.com"},
		"composed is not decomposed": {"\u00E9@example.com", "e\u0301@example.com"},
		"ß is not ss in a domain":    {"ada@faß.de", "ada@fass.de"},
		"capital Ä is not ä":         {"Ä@example.com", "ä@example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, errA := customer.ParseEmail(test.a)
			b, errB := customer.ParseEmail(test.b)
			if errA == nil && errB == nil && a.Key == b.Key {
				t.Errorf("both have key %q", a.Key)
			}
		})
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"empty":                     "",
		"no @":                      "ada",
		"two @":                     "ada@b@example.com",
		"no name":                   "@example.com",
		"no domain":                 "ada@",
		"a space inside":            "ada lovelace@example.com",
		"a no-break space":          "ada\u00A0@example.com",
		"quotes":                    `"ada"@example.com`,
		"a display name":            "Ada <ada@example.com>",
		"a comment":                 "ada(x)@example.com",
		"an address literal":        "ada@[127.0.0.1]",
		"two dots":                  "a..b@example.com",
		"a leading dot":             ".a@example.com",
		"a trailing dot":            "a.@example.com",
		"a domain that ends in dot": "ada@example.com.",
		"an empty label":            "ada@example..com",
		"an underscore domain":      "ada@exa_mple.com",
		"KELVIN SIGN in the domain": "ada@\u212Aelvin.de",
		"full width in the domain":  "ada@\uFF45xample.com",
		"a capital umlaut there":    "ada@BÜCHER.de",
		"a false A-label":           "ada@xn--a.de",
		"too long":                  strings.Repeat("a", 60) + "@" + strings.Repeat("b.", 100) + "com",
		"too long a name":           strings.Repeat("a", 65) + "@example.com",
		"NUL":                       "a\x00da@example.com",
		"a line feed":               "ada\n@example.com",
		"zero width space":          "ada\u200B@example.com",
		"right-to-left override":    "ada\u202E@example.com",
		"invalid UTF-8":             "ada\xff@example.com",
		"a backslash":               `a\da@example.com`,
		"a list":                    "ada@example.com,bob@example.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			email, err := customer.ParseEmail(address)
			var field customer.FieldError
			if !errors.As(err, &field) || field.Field != "email_address" || email != (customer.Email{}) {
				t.Fatalf("got %+v, %v", email, err)
			}
			if len(address) > 3 && strings.Contains(err.Error(), address) {
				t.Errorf("the error repeats the address: %v", err)
			}
		})
	}
}

func TestANameOutsideASCIIIsKeptButNotMatched(t *testing.T) {
	t.Parallel()
	email, err := customer.ParseEmail("Jürgen@Example.com")
	if err != nil || email.Address != "Jürgen@Example.com" || email.Key != "jürgen@example.com" || email.Key.Matchable() {
		t.Errorf("%+v, %v", email, err)
	}
}

// The isemail collection calls these addresses sound by RFC 5321 or unsound in
// ways we do not take up; what matters here is that each is accepted or refused
// without two different readings.
func TestKeysOfTheIsemailCollection(t *testing.T) {
	t.Parallel()
	addresses := []string{"test@iana.org", `"test"@iana.org`, "test@[127.0.0.1]", "(c)test@iana.org", "test@iana.org\n", "tést@iana.org"}
	if file, err := os.ReadFile("../../shared/corpora/isemail/test/tests.xml"); err == nil {
		var tests struct {
			Test []struct {
				Address string `xml:"address"`
			} `xml:"test"`
		}
		if err := xml.Unmarshal(file, &tests); err != nil || len(tests.Test) < 100 {
			t.Fatalf("%d addresses: %v", len(tests.Test), err)
		}
		for _, one := range tests.Test {
			addresses = append(addresses, one.Address)
		}
	}
	accepted := 0
	for _, address := range addresses {
		if checkKey(t, address) {
			accepted++
		}
	}
	if accepted == 0 || accepted == len(addresses) {
		t.Errorf("%d of %d accepted", accepted, len(addresses))
	}
}

// checkKey holds for every text whatever: a key has one @, no space, at most 254
// bytes, no A to Z, and is its own key.
func checkKey(t interface{ Errorf(string, ...any) }, address string) bool {
	email, err := customer.ParseEmail(address)
	if err != nil {
		return false
	}
	key := string(email.Key)
	if strings.Count(key, "@") != 1 || strings.ContainsAny(key, " \t\r\n\"()<>[]\\,;:ABCDEFGHIJKLMNOPQRSTUVWXYZ") || len(key) > 254 || !utf8.ValidString(key) {
		t.Errorf("key %q of %q", key, address)
	}
	again, err := customer.ParseEmail(key)
	if err != nil || again.Key != email.Key {
		t.Errorf("key of key %q is %q: %v", key, again.Key, err)
	}
	return true
}

func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "Ada@bücher.de", "\u212A@x", "a@xn--bcher-kva.de", `"a"@b`, "a@b@c", "", "a+b@c.d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) { checkKey(t, address) })
}

func TestOnlyAToZAreFolded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-zA-Z0-9é\x{212A}ſ]{1,20}`).Draw(t, "local")
		email, err := customer.ParseEmail(local + "@example.com")
		if err != nil {
			t.Fatal(err)
		}
		got, _, _ := strings.Cut(string(email.Key), "@")
		want := []rune(local)
		for i, r := range want {
			if r >= 'A' && r <= 'Z' {
				want[i] = r + 32
			}
		}
		if got != string(want) {
			t.Errorf("%q became %q", local, got)
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name, want string
		ok         bool
	}{
		"trimmed":              {"  Ada  ", "Ada", true},
		"composed":             {"Zoe\u0308", "Zoë", true},
		"200 runes":            {strings.Repeat("é", 200), strings.Repeat("é", 200), true},
		"201 runes":            {strings.Repeat("é", 201), "", false},
		"nothing but space":    {" \u00A0 ", "", false},
		"a line feed":          {"A\nda", "", false},
		"a C1 control":         {"A\u0085da", "", false},
		"invalid UTF-8":        {"A\xff", "", false},
		"an apostrophe":        {"O'Neill", "O'Neill", true},
		"markup is text":       {"<b>", "<b>", true},
		"right to left script": {"עדה", "עדה", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := customer.ParseName("first_name", test.name)
			if got != test.want || (err == nil) != test.ok {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestAuthUserIDsAreTextWithOneBarAtLeast(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"auth0|1", "samlp|acme|Ada Lovelace", "adfs|john@fabrikam.com", "oidc|x|ü"} {
		if got, err := customer.ParseAuthUserID(id); got != id || err != nil {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "auth0", "|1", "auth0|", "auth0|\x00", "auth0|\xff", " auth0|1", "auth0|1\n", "a|" + strings.Repeat("x", 600)} {
		if _, err := customer.ParseAuthUserID(id); err == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	const id = "0198c0de-0000-7000-8000-0123456789ab"
	if got, err := customer.ParseID(strings.ToUpper(id)); string(got) != id || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "me", strings.ReplaceAll(id, "-", ""), "{" + id + "}", "urn:uuid:" + id, id[:35] + "g", id[:8] + "0" + id[9:]} {
		if _, err := customer.ParseID(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestTheLifecycleHasTheseMovesAndNoOthers(t *testing.T) {
	t.Parallel()
	var moves []string
	for _, from := range customer.Lifecycles() {
		for _, to := range customer.Lifecycles() {
			if from.CanBecome(to) {
				moves = append(moves, string(from)+"→"+string(to))
			}
		}
	}
	want := []string{"auth_pending→active", "auth_pending→inactive", "active→auth_pending", "active→inactive"}
	if !slices.Equal(moves, want) {
		t.Errorf("moves %v, want %v", moves, want)
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	if n := len(customer.Reasons()); n != 13 {
		t.Errorf("%d reasons", n)
	}
	for _, r := range customer.Reasons() {
		if m := r.Meaning(); m.Sentence == "" || m.Who == "" || m.Next == "" {
			t.Errorf("%s: %+v", r, m)
		}
	}
	if customer.Reason("other").Meaning() != (customer.Meaning{}) {
		t.Error("a reason outside the list is explained")
	}
}
