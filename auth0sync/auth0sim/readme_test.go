package auth0sim

import (
	"cmp"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The curl lines of README.md work as printed, one after the other.
func TestReadmeIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, 200)
	c := serve(t, Options{})
	line := regexp.MustCompile(`(?m)^curl -s (?:-X (\w+) )?\$SIM(/\S+)(?: +-d '(.*?)')?(?: +-X (\w+))?`)
	lines := line.FindAllStringSubmatch(string(text), -1)
	if n := strings.Count(string(text), "\ncurl "); n < 15 || n != len(lines) {
		t.Fatalf("%d of %d lines are understood", len(lines), n)
	}
	for _, l := range lines {
		method := cmp.Or(l[1], l[4], map[bool]string{true: "GET", false: "POST"}[l[3] == ""])
		bob := ""
		for _, u := range c.tenant.withEmail("Bob@Example.com") {
			bob = u.ID
		}
		body := strings.NewReplacer("http://127.0.0.1:8080", s.URL, "whsec_…", testSecret, "google-oauth2|…", bob).Replace(l[3])
		c.do(method, l[2], body).want(200, "")
	}
	endpoint := regexp.MustCompile(`HandleFunc\("(?:[A-Z]+ )?(/_sim/\S+)"`)
	source, err := os.ReadFile("control.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoint.FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(string(text), "$SIM"+e[1]) {
			t.Errorf("README.md does not show %s", e[1])
		}
	}
}
