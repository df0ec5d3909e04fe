package auth0sim

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

var errQuery = errors.New("Invalid query") //nolint:staticcheck // in the style of Auth0's messages

// fieldName is what a query may name; Lucene's -field, +field and !field are not
// simulated and so refused.
var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// longestQuery in bytes, and deepestQuery in parentheses and NOTs, keep a hostile
// query from exhausting memory and stack.
const (
	longestQuery = 64 << 10
	deepestQuery = 100
)

// parse reads a query. The empty one matches every user.
func parse(text string) (query, error) {
	if !utf8.ValidString(text) || len(text) > longestQuery {
		return nil, errQuery
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return everyone{}, nil
	}
	p := &parser{tokens: tokens}
	q, err := p.or("")
	if err == nil && p.at < len(p.tokens) {
		err = errQuery
	}
	return q, err
}

type parser struct {
	tokens []token
	at     int
	depth  int
}

// take consumes a certain sign or word.
func (p *parser) take(text string) bool {
	if p.at < len(p.tokens) && !p.tokens[p.at].quoted && p.tokens[p.at].text == text {
		p.at++
		return true
	}
	return false
}

// next consumes a value: a quoted text, or a word that is neither sign nor
// operator.
func (p *parser) next() (token, error) {
	if p.at >= len(p.tokens) {
		return token{}, errQuery
	}
	t := p.tokens[p.at]
	if !t.quoted && (strings.Contains(signs, t.text) || t.text == "AND" || t.text == "OR" || t.text == "NOT" || t.text == "TO") {
		return token{}, errQuery
	}
	p.at++
	return t, nil
}

// or reads alternatives; within field:( … ) field is the one the values are of.
func (p *parser) or(field string) (query, error) {
	left, err := p.and(field)
	for err == nil && p.take("OR") {
		var right query
		right, err = p.and(field)
		left = or{left, right}
	}
	return left, err
}

func (p *parser) and(field string) (query, error) {
	left, err := p.one(field)
	for err == nil && p.take("AND") {
		var right query
		right, err = p.one(field)
		left = and{left, right}
	}
	return left, err
}

func (p *parser) one(field string) (query, error) {
	if p.depth++; p.depth > deepestQuery {
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
	case field == "":
		return p.clause()
	case p.take("["):
		return p.span(field, true)
	case p.take("{"):
		return p.span(field, false)
	}
	return p.value(field)
}

// clause reads field:value. A bare word would search every field: refused.
func (p *parser) clause() (query, error) {
	t, err := p.next()
	if err != nil || t.quoted || !fieldName.MatchString(t.text) || !p.take(":") {
		return nil, errQuery
	}
	if t.text == "_exists_" {
		of, err := p.next()
		return exists{of.text}, err
	}
	return p.one(t.text)
}

func (p *parser) value(field string) (query, error) {
	t, err := p.next()
	if err != nil || !t.quoted && strings.ContainsAny(t.text[:1], "<>") {
		return nil, errQuery
	}
	return equal{field, t.text, t.star}, nil
}

// span reads the rest of [a TO b], {a TO b}, [a TO b} or {a TO b].
func (p *parser) span(field string, withFirst bool) (query, error) {
	first, err1 := p.next()
	to := p.take("TO")
	last, err2 := p.next()
	withLast := p.take("]")
	_, isTime := timeField(&User{}, field)
	if err := errors.Join(err1, err2); err != nil || !to || !isTime || !withLast && !p.take("}") {
		return nil, errQuery
	}
	from, afterFirst, ok1 := bound(first.text)
	till, afterLast, ok2 := bound(last.text)
	if !withFirst {
		from = afterFirst
	}
	if withLast {
		till = afterLast
	}
	if !ok1 || !ok2 {
		return nil, errQuery
	}
	return span{field, from, till}, nil
}

// bound reads a time or a date, and gives the instant it begins and the instant
// after it: a date is a whole day. "*" is open: zero and zero.
func bound(s string) (from, after time.Time, ok bool) {
	if s == "*" {
		return time.Time{}, time.Time{}, true
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, at.Add(time.Millisecond), true // the finest that Auth0's times are
	}
	at, err := time.Parse(time.DateOnly, s)
	return at, at.AddDate(0, 0, 1), err == nil
}
