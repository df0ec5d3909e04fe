// Package outgoing delivers the events of the feed to the company's other systems,
// signed, in the order of each customer, and again until they are taken.
package outgoing

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Target is where events are delivered to.
type Target struct {
	Name    string // in the database, in metrics and logs
	URL     string
	Secrets [][]byte // what deliveries are signed with, by each
}

const (
	secretMark  = "whsec_"
	leastSecret = 24 // bytes, as Standard Webhooks asks
	longestName = 40
)

// ParseTarget reads NAME URL SECRET, with spaces between; a second secret may follow
// while the receiver changes from one to the other. The URL is https, but on this
// machine. Errors do not repeat the text, which holds the secret.
func ParseTarget(text string) (Target, error) {
	parts := strings.Fields(text)
	if len(parts) < 3 {
		return Target{}, errors.New("must be a name, a URL and a secret, with spaces between")
	}
	t := Target{Name: parts[0], URL: parts[1]}
	if !isName(t.Name) {
		return Target{}, fmt.Errorf("must have a name of at most %d small letters, digits, - and _", longestName)
	}
	if err := checkURL(t.URL); err != nil {
		return Target{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	for _, s := range parts[2:] {
		encoded, marked := strings.CutPrefix(s, secretMark)
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if !marked || err != nil || len(secret) < leastSecret {
			return Target{}, fmt.Errorf("%s: must have secrets of %s and at least %d bytes in base64", t.Name, secretMark, leastSecret)
		}
		t.Secrets = append(t.Secrets, secret)
	}
	return t, nil
}

func isName(s string) bool {
	odd := func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') }
	return s != "" && len(s) <= longestName && !strings.ContainsFunc(s, odd)
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("must have a URL without user and fragment")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must have an https URL: http is for this machine alone")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
