package auth0sim

import (
	"regexp"
	"strings"
)

// token is a word, a quoted text, or one of the signs.
type token struct {
	text   string
	quoted bool
	star   bool // an unquoted word with a * that is not escaped
}

const (
	signs  = ":()[]{}"
	spaces = " \t\r\n"
)

func lex(s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		read := word
		switch c := s[i]; {
		case strings.IndexByte(spaces, c) >= 0:
			i++
			continue
		case strings.IndexByte(signs, c) >= 0:
			tokens = append(tokens, token{text: s[i : i+1]})
			i++
			continue
		case c == '"':
			read = quoted
		}
		t, n, err := read(s[i:])
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		i += n
	}
	return tokens, nil
}

// quoted reads a text from quote to quote, and how many bytes that took. A
// backslash takes the next byte as it is.
func quoted(s string) (token, int, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return token{text: b.String(), quoted: true}, i + 1, nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return token{}, 0, errQuery
}

// word reads up to a space, sign or quote, and how many bytes that took. A colon
// in a time belongs to it; ? for any one character is refused.
func word(s string) (token, int, error) {
	t := token{}
	var b strings.Builder
	i := 0
	for ; i < len(s); i++ {
		c := s[i]
		inTime := c == ':' && i+1 < len(s) && isDigit(s[i+1]) && b.Len() < longestTime && timeBegun.MatchString(b.String())
		if !inTime && (c == '"' || strings.IndexByte(spaces+signs, c) >= 0) {
			break
		}
		switch c {
		case '\\':
			if i++; i == len(s) {
				return t, 0, errQuery
			}
			c = s[i]
		case '*':
			t.star = true
		case '?':
			return t, 0, errQuery
		}
		b.WriteByte(c)
	}
	t.text = b.String()
	if t.text == "*" && !t.star {
		return t, 0, errQuery // an escaped star alone: nobody means that
	}
	return t, i, nil
}

// timeBegun is a time up to one of its colons, perhaps that of its zone.
var timeBegun = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[0-9:.+-]*\d\d$`)

// longestTime is how many bytes of a time there may be, so that a long word with
// many colons is not searched again and again.
const longestTime = 40

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
