package auth0sync

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"github.com/ahiko-io/customersync/customer"
)

// lines reads the lines of one export. Most are plain, and read many times faster
// than encoding/json can; whatever is unusual about a line has it read by the one
// reader of users, which is careful. Both say the same of every line: a fuzz test
// holds them against each other.
type lines struct {
	parser fastjson.Parser
	seen   time.Time
}

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
// the type that Auth0 promises, without escapes; it refuses all others.
func (l *lines) plain(line []byte) (u User, ok bool) {
	if !isPlain(line) {
		return User{}, false
	}
	value, err := l.parser.ParseBytes(line)
	if err != nil {
		return User{}, false
	}
	object, err := value.Object()
	if err != nil {
		return User{}, false
	}
	u = User{SeenAt: l.seen, Lane: LaneExport}
	r := plainReader{ok: true}
	object.Visit(func(name []byte, v *fastjson.Value) { r.member(&u, name, v) })
	if !r.ok {
		return User{}, false
	}
	if u.ID, err = customer.ParseAuthUserID(u.ID); err != nil {
		return User{}, false
	}
	return u, true
}

// isPlain reports whether a line is text without escapes: then its strings are
// what they look like, and are valid if they are valid UTF-8.
func isPlain(line []byte) bool {
	if bytes.IndexByte(line, '\\') >= 0 || !utf8.Valid(line) {
		return false
	}
	for _, c := range line {
		if c < ' ' {
			return false
		}
	}
	return true
}

// plainReader fills a User; ok becomes false at the first thing that is unusual.
type plainReader struct {
	ok   bool
	seen uint // members, by their bits
}

// member reads one member of a line.
func (r *plainReader) member(u *User, name []byte, v *fastjson.Value) {
	switch string(name) {
	case "user_id":
		u.ID = r.text(0, v)
	case "email":
		u.Email = r.textOrNull(1, v)
	case "email_verified":
		u.EmailVerified = r.yes(2, v)
	case "blocked":
		u.Blocked = r.yes(3, v)
	case "created_at":
		u.CreatedAt = timeOf(r.text(4, v))
	case "updated_at":
		u.UpdatedAt = timeOf(r.text(5, v))
	case "identities":
		u.Identities = r.identities(6, v)
	case "customer_id":
		if id, err := customer.ParseID(r.textOrNull(7, v)); err == nil {
			u.CustomerID = id
		}
	default:
		r.ok = false // also an app_metadata, or a name in other capitals
	}
}

// once notes a member; of two with one name it depends on the reader which counts.
func (r *plainReader) once(bit uint) {
	r.ok = r.ok && r.seen&(1<<bit) == 0
	r.seen |= 1 << bit
}

func (r *plainReader) text(bit uint, v *fastjson.Value) string {
	r.once(bit)
	if v.Type() != fastjson.TypeString {
		r.ok = false
		return ""
	}
	return string(v.GetStringBytes())
}

func (r *plainReader) textOrNull(bit uint, v *fastjson.Value) string {
	if v.Type() == fastjson.TypeNull {
		r.once(bit)
		return ""
	}
	return r.text(bit, v)
}

func (r *plainReader) yes(bit uint, v *fastjson.Value) bool {
	r.once(bit)
	kind := v.Type()
	r.ok = r.ok && (kind == fastjson.TypeTrue || kind == fastjson.TypeFalse || kind == fastjson.TypeNull)
	return kind == fastjson.TypeTrue
}

// identities reads the one identity that most users have. Linked ones are for the
// careful reader: what they vouch for depends on their profiles.
func (r *plainReader) identities(bit uint, v *fastjson.Value) []Identity {
	r.once(bit)
	list, err := v.Array()
	if err != nil || len(list) != 1 {
		r.ok = false
		return nil
	}
	object, err := list[0].Object()
	if err != nil {
		r.ok = false
		return nil
	}
	var i Identity
	inner := plainReader{ok: true}
	object.Visit(func(name []byte, v *fastjson.Value) {
		switch string(name) {
		case "provider":
			i.Provider = inner.text(0, v)
		case "connection":
			i.Connection = inner.text(1, v)
		case "user_id":
			i.UserID = inner.text(2, v)
		case "isSocial":
			inner.yes(3, v)
		default:
			inner.ok = false
		}
	})
	r.ok = r.ok && inner.ok
	return []Identity{i}
}
