package customer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Email is an address as it was typed, beside the key it is matched by. The
// zero Email is none.
type Email struct {
	Address string
	Key     EmailKey
}

// EmailKey is what addresses are compared by, here and in the database: two
// addresses are the same if and only if their keys are equal bytes.
//
// The key folds A–Z and nothing else. Unicode case folding would merge
// strangers: U+212A KELVIN SIGN lower-cases to "k" in Go and in Postgres.
type EmailKey string

// Matchable reports whether the key may be matched with Auth0 users
// automatically. A local part outside ASCII is kept but never matched: mail
// systems do not agree on when two of them are equal.
func (k EmailKey) Matchable() bool {
	return k != "" && strings.IndexFunc(string(k), func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// maxEmail is the longest address in bytes, RFC 5321 section 4.5.3.1.3 less the
// angle brackets; maxLocal its part before the @.
const (
	maxEmail = 254
	maxLocal = 64
)

// ParseEmail trims an address and makes its key. It accepts the plain form
// local@domain and refuses quotes, comments, spaces, address literals and
// whatever else makes an address open to more than one reading. The error is a
// FieldError of email_address and does not repeat the address.
func ParseEmail(s string) (Email, error) {
	address := strings.TrimSpace(s)
	local, domain, problem := split(address)
	if problem != "" {
		return Email{}, FieldError{Field: "email_address", Problem: problem}
	}
	ascii, err := asciiDomain(domain)
	if err != nil {
		return Email{}, FieldError{Field: "email_address", Problem: "must have a valid domain"}
	}
	key := lowerASCII(local) + "@" + ascii
	if len(key) > maxEmail {
		return Email{}, FieldError{Field: "email_address", Problem: tooLong}
	}
	return Email{Address: address, Key: EmailKey(key)}, nil
}

var tooLong = fmt.Sprintf("must be at most %d bytes", maxEmail)

func split(address string) (local, domain, problem string) {
	local, domain, found := strings.Cut(address, "@")
	switch {
	case address == "":
		return "", "", "must not be empty"
	case len(address) > maxEmail:
		return "", "", tooLong
	case !utf8.ValidString(address):
		return "", "", "must be UTF-8"
	case strings.ContainsFunc(address, unicode.IsSpace):
		return "", "", "must not hold a space"
	case !found || strings.Contains(domain, "@"):
		return "", "", "must have exactly one @"
	case local == "" || domain == "":
		return "", "", "must have a name before and a domain after the @"
	case len(local) > maxLocal || !isDotAtom(local):
		return "", "", "must have a plain name before the @"
	}
	return local, domain, ""
}

// isDotAtom reports whether s is an RFC 5322 dot-atom, letters and digits
// outside ASCII allowed (RFC 6531).
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtomText) {
			return false
		}
	}
	return true
}

func notAtomText(r rune) bool {
	if r > unicode.MaxASCII {
		return !unicode.In(r, unicode.L, unicode.M, unicode.N)
	}
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r))
}

// asciiDomain gives the A-label form of a domain by IDNA 2008 without any
// mapping: a domain that would need one (upper case beyond ASCII, full width,
// not NFC) is an error, since a mapping is a guess at what was meant.
func asciiDomain(domain string) (string, error) {
	domain = lowerASCII(domain)
	if strings.HasSuffix(domain, ".") || strings.ContainsFunc(domain, notHostText) {
		return "", errors.New("not a host name")
	}
	if isPlainHost(domain) {
		return domain, nil
	}
	return registration.ToASCII(domain)
}

// isPlainHost reports whether IDNA would return a domain as it is: labels of a–z and
// digits, none of them too long. Nearly all are such, and IDNA takes much longer to
// find that out.
func isPlainHost(domain string) bool {
	label := 0
	for i := range len(domain) {
		switch c := domain[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			label++
		case c == '.' && label > 0:
			label = 0
		default: // a hyphen too: some places are forbidden
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0 && len(domain) <= 253
}

// registration is how a domain must be written to be registered; it has no state.
var registration = idna.New(idna.ValidateForRegistration(), idna.VerifyDNSLength(true))

func notHostText(r rune) bool {
	return r <= unicode.MaxASCII && !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.')
}

// lowerASCII lower-cases A–Z and leaves every other rune as it is.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}
