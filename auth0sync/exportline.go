package auth0sync

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// lines reads the lines of one export. Most are plain, and read many times faster
// than encoding/json can; whatever is unusual about a line has it read by the one
// reader of users, which is careful. Both say the same of every line: a fuzz test
// holds them against each other.
type lines struct {
	seen  time.Time
	names map[string]string // of providers and connections: few, and each in many lines
}

// mostNames bounds the names that are kept, for tenants with very many connections.
const mostNames = 1000

// user reads a line.
func (l *lines) user(line []byte) (User, error) {
	if u, ok := l.plain(line); ok {
		return u, nil
	}
	var j userJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return User{}, fmt.Errorf("%w: %s", ErrUnavailable, shape(err))
	}
	u := j.user(l.seen, LaneExport)
	// What a back end named is a member of its own there.
	if id := customerIDIn(line); id != "" {
		u.CustomerID = id
	}
	return u, nil
}

// plain reads a line that has nothing but the members asked for, each once and of
// the type that Auth0 promises, without escapes, or spaces between; it refuses all
// others.
func (l *lines) plain(line []byte) (u User, ok bool) {
	if !isPlain(line) {
		return User{}, false
	}
	u = User{SeenAt: l.seen, Lane: LaneExport}
	r := plainReader{lines: l, rest: line, ok: true}
	r.object(func(name []byte) { r.member(&u, name) })
	if !r.ok || len(r.rest) > 0 {
		return User{}, false
	}
	var err error
	if u.ID, err = customer.ParseAuthUserID(u.ID); err != nil {
		return User{}, false
	}
	return u, true
}

// isPlain reports whether a line is text without escapes: then its strings are
// what they look like, and end at the next quote.
func isPlain(line []byte) bool {
	return !hasControlByte(line) && bytes.IndexByte(line, '\\') < 0 && utf8.Valid(line)
}

// hasControlByte reports whether a byte is less than a space, which JSON has escaped. It
// looks at eight bytes at once: one by one it would take as long as all the rest
// of reading a line. https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func hasControlByte(line []byte) bool {
	const (
		ones   = 0x0101010101010101
		spaces = ' ' * ones
		highs  = 0x80 * ones
	)
	for ; len(line) >= 8; line = line[8:] {
		word := binary.LittleEndian.Uint64(line)
		if (word-spaces)&^word&highs != 0 {
			return true
		}
	}
	return slices.ContainsFunc(line, func(c byte) bool { return c < ' ' })
}

// plainReader reads JSON from the front of rest; ok becomes false at the first
// thing that is unusual.
type plainReader struct {
	*lines
	rest []byte
	ok   bool
	seen uint // members of the object that is being read, by their bits
}

// member reads one member of a line.
func (r *plainReader) member(u *User, name []byte) {
	switch string(name) {
	case "user_id":
		u.ID = string(r.text(0))
	case "email":
		u.Email = string(r.textOrNull(1))
	case "email_verified":
		u.EmailVerified = r.yes(2)
	case "blocked":
		u.Blocked = r.yes(3)
	case "created_at":
		u.CreatedAt = plainTime(r.text(4))
	case "updated_at":
		u.UpdatedAt = plainTime(r.text(5))
	case "identities":
		u.Identities = r.identities(6, u.ID)
	case "customer_id":
		if id, err := customer.ParseID(string(r.textOrNull(7))); err == nil {
			u.CustomerID = id
		}
	default:
		r.ok = false // also an app_metadata, or a name in other capitals
	}
}

// plainTime is timeOf without a string to be made of nearly all times.
func plainTime(text []byte) time.Time {
	var at time.Time
	if at.UnmarshalText(text) != nil { // which is stricter
		return timeOf(string(text))
	}
	return at.UTC()
}

// identities reads the one identity that most users have. Linked ones are for the
// careful reader: what they vouch for depends on their profiles.
func (r *plainReader) identities(bit uint, id string) []Identity {
	r.once(bit)
	var i Identity
	var user []byte
	r.take("[")
	r.object(func(name []byte) {
		switch string(name) {
		case "provider":
			i.Provider = r.name(r.text(0))
		case "connection":
			i.Connection = r.name(r.text(1))
		case "user_id":
			user = r.text(2)
		case "isSocial":
			r.yes(3)
		default:
			r.ok = false
		}
	})
	r.take("]")
	// Nearly always the part of the user's id that the provider gave.
	if provider, given, _ := strings.Cut(id, "|"); provider == i.Provider && given == string(user) {
		i.UserID = given
	} else {
		i.UserID = string(user)
	}
	return []Identity{i}
}

// name is a text of which there are few.
func (r *plainReader) name(text []byte) string {
	if name, ok := r.names[string(text)]; ok {
		return name
	}
	name := string(text)
	switch {
	case r.names == nil:
		r.names = map[string]string{name: name}
	case len(r.names) < mostNames:
		r.names[name] = name
	}
	return name
}

// object reads an object that has members.
func (r *plainReader) object(member func(name []byte)) {
	outer := r.seen
	r.seen = 0
	r.take("{")
	for more := true; more && r.ok; more = r.has(",") {
		name := r.quoted()
		r.take(":")
		member(name)
	}
	r.take("}")
	r.seen = outer
}

// once notes a member; of two with one name it depends on the reader which counts.
func (r *plainReader) once(bit uint) {
	r.ok = r.ok && r.seen&(1<<bit) == 0
	r.seen |= 1 << bit
}

func (r *plainReader) text(bit uint) []byte {
	r.once(bit)
	return r.quoted()
}

func (r *plainReader) textOrNull(bit uint) []byte {
	if r.has("null") {
		r.once(bit)
		return nil
	}
	return r.text(bit)
}

func (r *plainReader) yes(bit uint) bool {
	r.once(bit)
	switch {
	case r.has("true"):
		return true
	case !r.has("false"):
		r.take("null")
	}
	return false
}

// quoted reads a string.
func (r *plainReader) quoted() []byte {
	r.take(`"`)
	end := bytes.IndexByte(r.rest, '"')
	if end < 0 {
		r.ok = false
		return nil
	}
	text := r.rest[:end]
	r.rest = r.rest[end+1:]
	return text
}

// take reads what must come next.
func (r *plainReader) take(token string) { r.ok = r.has(token) && r.ok }

// has reads a token if it comes next.
func (r *plainReader) has(token string) bool {
	if len(r.rest) < len(token) || string(r.rest[:len(token)]) != token {
		return false
	}
	r.rest = r.rest[len(token):]
	return true
}
