package api

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// checkTokenText refuses what two readers of one token could read differently:
// a header or payload with a member twice (RFC 7519 section 4 leaves it to us
// which one counts; encoding/json takes the last), and line breaks, which Go's
// base64 passes over.
func checkTokenText(text string) error {
	if strings.ContainsAny(text, "\r\n") {
		return errors.New("has a line break")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return fmt.Errorf("has %d parts, not 3", len(parts))
	}
	for i, part := range parts[:2] {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return fmt.Errorf("part %d: %w", i+1, err)
		}
		if _, err := parseObject(raw, nil); err != nil {
			return fmt.Errorf("part %d: %w", i+1, err)
		}
	}
	return nil
}

// checkHeader refuses a signed token that says it is something else than an
// access token: Auth0 writes JWT, or at+jwt by its RFC 9068 profile. What crit
// names must be understood (RFC 7515 section 4.1.11), and nothing is.
func checkHeader(header map[string]any) error {
	if _, ok := header["crit"]; ok {
		return errors.New("has a crit header")
	}
	typ, given := header["typ"]
	text, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(text), "application/") {
	case "jwt", "at+jwt":
		return nil
	}
	if given {
		return errors.New("is of another type than an access token")
	}
	return nil
}
