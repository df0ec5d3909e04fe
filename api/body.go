package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	largestBody = 64 << 10 // bytes (R14)
	deepestBody = 16       // levels of nesting (R14)
)

// readAll reads a request's body.
func readAll(c *call, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fail("body_too_large").saying(fmt.Sprintf("The body must be at most %d bytes.", limit))
	case err != nil:
		return nil, fail("invalid_json").saying("The body could not be read.").because(err)
	}
	return body, nil
}

// readObject reads a body that must be one JSON object with no members but
// those named, each at most once. The values are left as they are.
func readObject(c *call, members ...string) (raw []byte, object map[string]json.RawMessage, err error) {
	if err := checkMediaType(c.r.Header); err != nil {
		return nil, nil, err
	}
	raw, err = readAll(c, largestBody)
	if err != nil {
		return nil, nil, err
	}
	object, err = parseObject(raw, members)
	return raw, object, err
}

// checkMediaType asks for JSON in UTF-8 (R14).
func checkMediaType(h http.Header) error {
	media, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := parameters["charset"]
	encoding := h.Get("Content-Encoding")
	if err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") ||
		encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fail("unsupported_media_type").about("Content-Type")
	}
	return nil
}

// parseObject is stricter than encoding/json, which takes the last of two equal
// members, ignores case, passes over what follows and turns lone surrogates into
// U+FFFD: two readers of one body must not see two things. Without members it may
// have any.
func parseObject(raw []byte, members []string) (map[string]json.RawMessage, error) {
	switch {
	case !utf8.Valid(raw):
		return nil, fail("invalid_json").saying("The body must be UTF-8.")
	case !json.Valid(raw):
		return nil, fail("invalid_json")
	}
	if err := checkEscapes(raw); err != nil {
		return nil, err
	}
	if err := checkTree(raw, members); err != nil {
		return nil, err
	}
	object := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return nil, fail("invalid_json")
	}
	return object, nil
}

// checkTree walks the tokens of valid JSON: one object, not too deep, no member
// twice in any object, and at the top only members that are named, if any are.
func checkTree(raw []byte, members []string) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	type level struct {
		seen  map[string]bool // nil in an array
		value bool            // the next token is a member's value
	}
	var levels []level
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail("invalid_json").because(err)
		}
		if len(levels) == 0 && token != json.Delim('{') {
			return fail("invalid_json")
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].seen != nil {
			top := &levels[n-1]
			if !top.value {
				name, _ := token.(string)
				switch {
				case top.seen[name]:
					return fail("invalid_json").about(fieldName(name)).saying("The body has a member twice.")
				case n == 1 && members != nil && !slices.Contains(members, name):
					return fail("unknown_member").about(fieldName(name))
				}
				top.seen[name], top.value = true, true
				continue
			}
			top.value = false
		}
		if delim, ok := token.(json.Delim); ok {
			var seen map[string]bool
			if delim == '{' {
				seen = map[string]bool{}
			}
			if levels = append(levels, level{seen: seen}); len(levels) > deepestBody {
				return fail("invalid_json").saying(fmt.Sprintf("The body must be at most %d levels deep.", deepestBody))
			}
		}
	}
}

// fieldName is a member's name as an error may repeat it.
func fieldName(name string) string {
	const longest = 64
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	return name
}

// checkEscapes refuses \u0000, which no text of ours may hold, and surrogates
// that are not a pair. raw is valid JSON.
func checkEscapes(raw []byte) error {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // the escaped character
		if raw[i] != 'u' {
			continue
		}
		switch unit := hex4(raw[i+1:]); {
		case unit == 0:
			return fail("invalid_json").saying(`The body must not hold \u0000.`)
		case unit >= 0xD800 && unit < 0xDC00:
			rest := raw[i+5:]
			if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' || hex4(rest[2:]) < 0xDC00 || hex4(rest[2:]) > 0xDFFF {
				return fail("invalid_json").saying("The body must not hold half a surrogate pair.")
			}
			i += 6
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return fail("invalid_json").saying("The body must not hold half a surrogate pair.")
		}
		i += 4
	}
	return nil
}

// hex4 reads the four hexadecimal digits at the start of b.
func hex4(b []byte) int {
	n := 0
	for _, c := range b[:4] {
		n <<= 4
		switch {
		case c >= '0' && c <= '9':
			n += int(c - '0')
		case c >= 'a' && c <= 'f':
			n += int(c-'a') + 10
		case c >= 'A' && c <= 'F':
			n += int(c-'A') + 10
		}
	}
	return n
}

// text reads a member that must be a text.
func text(object map[string]json.RawMessage, member string) (string, error) {
	raw, ok := object[member]
	if !ok {
		return "", fail("invalid_field").about(member).saying(member + " is required.")
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fail("invalid_field").about(member).saying(member + " must be a string.")
	}
	return *s, nil
}
