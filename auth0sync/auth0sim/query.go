package auth0sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// query is a parsed search: the part of Auth0's Lucene dialect that looks for
// users by field. https://auth0.com/docs/manage-users/user-search/user-search-query-syntax
type query interface {
	matches(u User) bool
	// emails lists the addresses, in lower case, one of which every match has;
	// ok is false if there is no such list.
	emails() (list []string, ok bool)
}

type (
	all   struct{}
	both  struct{ left, right query }
	any2  struct{ left, right query }
	not   struct{ of query }
	equal struct{ field, value string }
	span  struct {
		field              string
		from, to           string // "*" is open
		withFrom, withTill bool
	}
)

func (all) matches(User) bool         { return true }
func (q both) matches(u User) bool    { return q.left.matches(u) && q.right.matches(u) }
func (q any2) matches(u User) bool    { return q.left.matches(u) || q.right.matches(u) }
func (q not) matches(u User) bool     { return !q.of.matches(u) }
func (all) emails() ([]string, bool)  { return nil, false }
func (not) emails() ([]string, bool)  { return nil, false }
func (span) emails() ([]string, bool) { return nil, false }
func (q equal) emails() ([]string, bool) {
	return []string{strings.ToLower(q.value)}, q.field == "email" && !strings.ContainsAny(q.value, "*?")
}

func (q both) emails() ([]string, bool) {
	if list, ok := q.left.emails(); ok {
		return list, true
	}
	return q.right.emails()
}

func (q any2) emails() ([]string, bool) {
	left, ok := q.left.emails()
	right, ok2 := q.right.emails()
	return append(left, right...), ok && ok2
}

// foldsCase lists the fields that search compares without regard to case.
var foldsCase = []string{"email", "name", "given_name", "family_name", "nickname"}

func (q equal) matches(u User) bool {
	return slices.ContainsFunc(fieldValues(u, q.field), func(v string) bool {
		if slices.Contains(foldsCase, q.field) {
			return wildcard(strings.ToLower(q.value), strings.ToLower(v))
		}
		return wildcard(q.value, v)
	})
}

func wildcard(pattern, v string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(v, prefix)
	}
	return pattern == v
}

func (q span) matches(u User) bool {
	return slices.ContainsFunc(fieldValues(u, q.field), func(v string) bool {
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return false
		}
		from, till := bound(q.from), bound(q.to)
		return (q.from == "*" || at.After(from) || q.withFrom && at.Equal(from)) &&
			(q.to == "*" || at.Before(till) || q.withTill && at.Equal(till))
	})
}

// bound reads a date or a time; parse has checked it.
func bound(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at
		}
	}
	return time.Time{}
}

func fieldValues(u User, field string) []string {
	switch field {
	case "email":
		return []string{u.Email}
	case "email.domain":
		_, domain, _ := strings.Cut(u.Email, "@")
		return []string{domain}
	case "user_id":
		return []string{u.ID}
	case "username":
		return []string{u.Username}
	case "name":
		return []string{u.Name}
	case "nickname":
		return []string{u.Nickname}
	case "given_name":
		return []string{u.GivenName}
	case "family_name":
		return []string{u.FamilyName}
	case "email_verified":
		return []string{fmt.Sprint(u.EmailVerified)}
	case "blocked":
		return []string{fmt.Sprint(u.Blocked)}
	case "created_at":
		return []string{stamp(u.CreatedAt)}
	case "updated_at":
		return []string{stamp(u.UpdatedAt)}
	case "app_metadata.customer_id":
		return []string{fmt.Sprint(u.AppMetadata["customer_id"])}
	case "identities.user_id", "identities.connection", "identities.provider":
		var values []string
		for _, i := range u.Identities {
			values = append(values, map[string]string{
				"identities.user_id": i.UserID, "identities.connection": i.Connection, "identities.provider": i.Provider,
			}[field])
		}
		return values
	}
	return nil
}

// parse reads a query. The empty one matches every user.
func parse(text string) (query, error) {
	if !utf8.ValidString(text) {
		return nil, errQuery
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	if len(tokens) == 0 {
		return all{}, nil
	}
	q, err := p.or("")
	if err == nil && p.at < len(p.tokens) {
		err = errQuery
	}
	return q, err
}

var errQuery = errors.New("invalid query")

// token is a word, a quoted text, or one of : ( ) [ ] { }.
type token struct {
	text   string
	quoted bool
}

func lex(s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			i++
		case strings.IndexByte(":()[]{}", c) >= 0:
			tokens = append(tokens, token{text: s[i : i+1]})
			i++
		case c == '"':
			text, n, err := quoted(s[i+1:])
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, token{text, true})
			i += n + 1
		default:
			n := word(s[i:])
			tokens = append(tokens, token{text: s[i : i+n]})
			i += n
		}
	}
	return tokens, nil
}

// quoted reads up to the closing quote; n is what it took, that included.
func quoted(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i + 1, nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", 0, errQuery
}

// word is the length of an unquoted word; a colon inside a time belongs to it.
func word(s string) int {
	for i := range len(s) {
		if strings.IndexByte(" \t()[]{}\"", s[i]) >= 0 {
			return i
		}
		if s[i] == ':' && !(i > 0 && isDigit(s[i-1]) && i+1 < len(s) && isDigit(s[i+1])) {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

type parser struct {
	tokens []token
	at     int
	depth  int
}

func (p *parser) peek(text string) bool {
	return p.at < len(p.tokens) && !p.tokens[p.at].quoted && p.tokens[p.at].text == text
}

func (p *parser) take(text string) bool {
	if p.peek(text) {
		p.at++
		return true
	}
	return false
}

// or reads alternatives; within field:( … ) field is the one the words are for.
func (p *parser) or(field string) (query, error) {
	left, err := p.and(field)
	for err == nil && p.take("OR") {
		var right query
		right, err = p.and(field)
		left = any2{left, right}
	}
	return left, err
}

func (p *parser) and(field string) (query, error) {
	left, err := p.one(field)
	for err == nil && p.take("AND") {
		var right query
		right, err = p.one(field)
		left = both{left, right}
	}
	return left, err
}

// maxDepth keeps a hostile query from exhausting the stack.
const maxDepth = 100

func (p *parser) one(field string) (query, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errQuery
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("NOT"):
		q, err := p.one(field)
		return not{q}, err
	case p.take("("):
		q, err := p.or(field)
		if err == nil && !p.take(")") {
			err = errQuery
		}
		return q, err
	case p.at >= len(p.tokens):
		return nil, errQuery
	case field != "" && (p.peek("[") || p.peek("{")):
		return p.span(field)
	}
	t := p.tokens[p.at]
	if !t.quoted && strings.Contains(":)]}", t.text) {
		return nil, errQuery
	}
	p.at++
	switch {
	case field != "":
		return equal{field, t.text}, nil
	case t.quoted || !p.take(":"):
		return nil, errQuery // a bare word searches every field; nobody of ours does
	}
	return p.one(t.text)
}

func (p *parser) span(field string) (query, error) {
	if p.at+5 > len(p.tokens) || p.tokens[p.at+2].text != "TO" {
		return nil, errQuery
	}
	t := p.tokens[p.at : p.at+5]
	p.at += 5
	q := span{field: field, from: t[1].text, to: t[3].text, withFrom: t[0].text == "[", withTill: t[4].text == "]"}
	if t[4].text != "]" && t[4].text != "}" ||
		q.from != "*" && bound(q.from).IsZero() || q.to != "*" && bound(q.to).IsZero() {
		return nil, errQuery
	}
	return q, nil
}
