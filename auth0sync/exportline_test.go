package auth0sync

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// plainLine is a user as an export has most.
const plainLine = `{"user_id":"auth0|63a03d3ab783b6ee24eda463","email":"Ada@example.com","email_verified":true,` +
	`"identities":[{"user_id":"63a03d3ab783b6ee24eda463","provider":"auth0","connection":"Username-Password-Authentication","isSocial":false}],` +
	`"created_at":"2026-01-02T03:04:05.678Z","updated_at":"2026-02-03T04:05:06.789Z","customer_id":"0199e0a4-5f4e-7c1a-9d0e-6a1f0c5b2e11"}`

// carefully is how the careful reader alone reads a line.
func carefully(line []byte, seen time.Time) (User, error) {
	var j userJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return User{}, err
	}
	u := j.user(seen, LaneExport)
	if id := customerIDIn(line); id != "" {
		u.CustomerID = id
	}
	return u, nil
}

func lineSeeds() []string {
	replaced := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(plainLine) }
	return []string{
		plainLine,
		replaced(`"email_verified":true`, `"email_verified":"true"`),
		replaced(`"email_verified":true`, `"email_verified":null,"blocked":true`),
		replaced(`"email_verified":true`, `"email_verified":false,"email_verified":true`),
		replaced(`"email_verified":true`, `"Email_Verified":true`),
		replaced(`"email":"Ada@example.com"`, `"email":null`),
		replaced(`Ada@example.com`, `ada\u0040example.com`),
		replaced(`Ada@example.com`, "ada@ex\xffample.com"),
		replaced(`Ada@example.com`, "ada@\x01example.com"),
		replaced(`"user_id":"63a03d3ab783b6ee24eda463"`, `"user_id":17`),
		replaced(`"isSocial":false}]`, `"isSocial":false},{"provider":"google-oauth2","user_id":"1","profileData":{"email":"b@example.com"}}]`),
		replaced(`"auth0|63a`, `"63a`),
		replaced(`"customer_id":"0199`, `"app_metadata":{"customer_id":"0199e0a4-5f4e-7c1a-9d0e-6a1f0c5b2e12"},"customer_id":"x199`),
		replaced(`2026-02-03T04:05:06.789Z`, `yesterday`),
		replaced(`"created_at":"2026-01-02T03:04:05.678Z"`, `"created_at":{}`),
		plainLine[:len(plainLine)-20], plainLine + "}", plainLine + plainLine, `{}`, `[]`, `null`, `{"user_id":"auth0|1"}`, `{"user_id":"auth0|1",}`,
		`{"user_id":"auth0|1" "email":"a@example.com"}`, `{"user_id":"auth0|1","identities":[{"provider":"auth0"},]}`, `{"user_id":"auth0|1","blocked":truefalse}`,
		`{"user_id":"auth0|1","identities":[]}`, `{"user_id":"auth0|1","identities":[null]}`, `{"user_id":"auth0|1","customer_id":null}`,
	}
}

// holdAgainst reads a line both ways.
func holdAgainst(t *testing.T, line []byte) {
	t.Helper()
	seen := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	quick, ok := (&lines{seen: seen}).plain(line)
	if !ok {
		return
	}
	careful, err := carefully(line, seen)
	if err != nil || !reflect.DeepEqual(quick, careful) {
		t.Errorf("%s\nquickly:   %+v\ncarefully: %+v, %v", line, quick, careful, err)
	}
}

func TestThePlainReaderSaysWhatTheCarefulOneSays(t *testing.T) {
	t.Parallel()
	for _, line := range lineSeeds() {
		holdAgainst(t, []byte(line))
	}
	if _, ok := (&lines{}).plain([]byte(plainLine)); !ok {
		t.Error("a plain line was left to the careful reader")
	}
}

func FuzzPlainLine(f *testing.F) {
	for _, line := range lineSeeds() {
		f.Add([]byte(line))
	}
	f.Fuzz(holdAgainst)
}

// Most lines of an export take the quick way; the other is what it is compared with.
func BenchmarkExportLine(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var l lines
		for b.Loop() {
			if _, err := l.user([]byte(plainLine)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("careful", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := carefully([]byte(plainLine), time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// unbearable is a file that whoever unpacks it panics at.
type unbearable struct{ read bool }

func (u *unbearable) Read(b []byte) (int, error) {
	if u.read {
		panic("a bug")
	}
	u.read = true
	return copy(b, "{}\n"), nil
}

func (*unbearable) Close() error { return nil }

func TestUnpackingThatPanicsIsAnErrorOfTheFile(t *testing.T) {
	t.Parallel()
	unpacked, stop := ahead(&unbearable{})
	defer stop()
	if _, err := io.ReadAll(unpacked); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
