package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ahiko-io/customersync/customer"
)

func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{"first_name":"A"}`, `{"first_name":"A","first_name":"B"}`, `{"a":"\ud800\udc00"}`, `{"a":"\ud800"}`, `{"a":"\u0000"}`,
		`{}`, `[]`, `null`, `{"first_name":{"a":[1,{"b":2}]}}`, `{"first_name":"\\u0000"}`, "\ufeff{}", `{"first_name":"A"} x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		object, err := parseObject(raw, []string{"first_name", "last_name"})
		if err != nil {
			if toFailure(err).status != 400 {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		for member, value := range object {
			if member != "first_name" && member != "last_name" {
				t.Errorf("member %q of %q", member, raw)
			}
			var s string
			if json.Unmarshal(value, &s) == nil && (strings.ContainsRune(s, 0) || strings.ContainsRune(s, '\uFFFD') && !strings.Contains(string(raw), "\uFFFD") && !strings.Contains(strings.ToLower(string(raw)), `\ufffd`)) {
				t.Errorf("text %q of %q", s, raw)
			}
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor("0198c0de-0000-7000-8000-00000000000a"))
	f.Add("AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseCursor(s)
		if err == nil && cursor(id) == "" {
			t.Error("an id without a cursor")
		}
		if _, bad := customer.ParseID(string(id)); err == nil && bad != nil {
			t.Errorf("%q gives %q", s, id)
		}
	})
}

func TestNestingHasALimit(t *testing.T) {
	t.Parallel()
	for depth, ok := range map[int]bool{deepestBody - 1: true, deepestBody: false} {
		raw := `{"first_name":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
		if _, err := parseObject([]byte(raw), []string{"first_name"}); (err == nil) != ok {
			t.Errorf("%d levels below: %v", depth, err)
		}
	}
}

// The document must list every route, and just the codes there are.
func TestTheDocumentAgreesWithTheProgram(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas struct {
				Error struct {
					Properties struct {
						Error struct {
							Properties struct {
								Code struct{ Enum []string }
							}
						}
					}
				} `yaml:"Error"`
			}
		}
	}
	if err := yaml.Unmarshal(openAPI, &document); err != nil {
		t.Fatal(err)
	}
	var documented, real []string
	for path, calls := range document.Paths {
		for method := range calls {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, r := range (&Server{}).routes() {
		real = append(real, r.method+" "+r.path)
	}
	slices.Sort(documented)
	slices.Sort(real)
	if !slices.Equal(documented, real) {
		t.Errorf("documented %v\nserved %v", documented, real)
	}
	var all []string
	for code := range codes {
		all = append(all, code)
	}
	slices.Sort(all)
	if listed := document.Components.Schemas.Error.Properties.Error.Properties.Code.Enum; !slices.Equal(listed, all) {
		t.Errorf("documented %v\nused %v", listed, all)
	}
}
