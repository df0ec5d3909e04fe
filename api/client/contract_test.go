package client_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/ahiko-io/customersync/api/client"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// document is openapi.yaml.
type document map[string]any

func readDocument(t *testing.T) document {
	t.Helper()
	text, err := os.ReadFile("../openapi.yaml")
	must(t, err)
	var d map[string]any
	must(t, yaml.Unmarshal(text, &d))
	return d
}

// at is the node at a path, with references followed.
func (d document) at(node any, path ...string) map[string]any {
	found, _ := node.(map[string]any)
	if ref, ok := found["$ref"].(string); ok {
		return d.at(d.at(map[string]any(d), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), path...)
	}
	if len(path) == 0 {
		return found
	}
	return d.at(found[path[0]], path[1:]...)
}

// operations are the calls under /customer/v1, such as "GET /customer/v1/customers",
// with their parameters.
func (d document) operations() map[string][]string {
	all := map[string][]string{}
	for path, node := range d.at(map[string]any(d), "paths") {
		if !strings.HasPrefix(path, "/customer/v1/") {
			continue
		}
		shared, _ := node.(map[string]any)["parameters"].([]any)
		for method, operation := range d.at(node) {
			if method == "parameters" {
				continue
			}
			own, _ := d.at(operation)["parameters"].([]any)
			names := []string{}
			for _, p := range append(slices.Clone(shared), own...) {
				if parameter := d.at(p); parameter["in"] != "path" {
					names = append(names, parameter["name"].(string))
				}
			}
			slices.Sort(names)
			all[strings.ToUpper(method)+" "+path] = names
		}
	}
	return all
}

// example makes a value of a schema, with every documented member in it and none null.
func (d document) example(schema any) any {
	s := d.at(schema)
	if constant, ok := s["const"]; ok {
		return constant
	}
	if all, ok := s["enum"].([]any); ok {
		return all[0]
	}
	if all, ok := s["oneOf"].([]any); ok {
		return d.example(all[0])
	}
	kind, _ := s["type"].(string)
	if several, ok := s["type"].([]any); ok {
		kind, _ = several[0].(string)
	}
	switch {
	case kind == "object":
		made := map[string]any{}
		for name, one := range d.at(s, "properties") {
			made[name] = d.example(one)
		}
		if more := d.at(s, "additionalProperties"); more != nil {
			made["some"] = d.example(more)
		}
		return made
	case kind == "array" && s["items"] == nil:
		return []any{}
	case kind == "array":
		return []any{d.example(s["items"])}
	case kind == "boolean":
		return true
	case kind == "integer":
		return float64(7)
	case s["format"] == "date-time":
		return "2023-09-06T18:01:07.90819Z"
	case s["format"] == "uuid":
		return "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11"
	}
	return "text"
}

// stage is a server that takes what openapi.yaml documents and answers as it says.
type stage struct {
	*testing.T
	document document
	seen     map[string]map[string]bool // operation → parameters used
	answered any                        // the last answer
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/customer/v1/"), "/")
	if len(parts) > 1 {
		parts[1] = "{customer_id}"
	}
	operation := r.Method + " /customer/v1/" + strings.Join(parts, "/")
	node := s.document.at(map[string]any(s.document), "paths", strings.TrimPrefix(operation, r.Method+" "), strings.ToLower(r.Method))
	if node == nil {
		s.Errorf("%s is not documented", operation)
		return
	}
	if s.seen[operation] == nil {
		s.seen[operation] = map[string]bool{}
	}
	for name := range r.URL.Query() {
		s.seen[operation][name] = true
	}
	for _, name := range s.document.operations()[operation] {
		if r.Header.Get(name) != "" {
			s.seen[operation][name] = true
		}
	}
	s.checkBody(operation, node, r)
	schema := s.document.at(node, "responses", "200", "content", "application/json")["schema"]
	if alternatives, ok := s.document.at(schema)["oneOf"].([]any); ok && !r.URL.Query().Has("email_address") {
		schema = alternatives[1]
	}
	answer := s.document.example(schema)
	if o, ok := answer.(map[string]any); ok && o["more"] != nil {
		o["more"] = false // else it would be asked for ever
	}
	s.answered = answer
	w.Header().Set("ETag", `"1-text"`)
	s.write(w, answer)
}

func (s *stage) write(w io.Writer, answer any) {
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.Error(err)
	}
}

// checkBody holds a request's body against its schema.
func (s *stage) checkBody(operation string, node map[string]any, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	must(s.T, err)
	schema := s.document.at(node, "requestBody", "content", "application/json")["schema"]
	if schema == nil {
		if len(text) > 0 {
			s.Errorf("%s has a body that is not documented: %s", operation, text)
		}
		return
	}
	whole, err := json.Marshal(map[string]any{"$ref": "#/it", "it": schema, "components": s.document["components"]})
	must(s.T, err)
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(whole))
	must(s.T, err)
	compiler := jsonschema.NewCompiler()
	must(s.T, compiler.AddResource("body.json", plain))
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(s.T, err)
	if err := compiler.MustCompile("body.json").Validate(body); err != nil {
		s.Errorf("%s: %s: %v", operation, text, err)
	}
}

// whole holds what a method returned against the answer: no member may be missing.
func (s *stage) whole(got any, err error) {
	s.Helper()
	must(s.T, err)
	want := s.answered.(map[string]any)["data"]
	if list, ok := want.([]any); ok && reflect.TypeOf(got).Kind() != reflect.Slice {
		want = list[0]
	}
	text, err := json.Marshal(got)
	must(s.T, err)
	var again any
	must(s.T, json.Unmarshal(text, &again))
	if diff := cmp.Diff(want, again); diff != "" {
		s.Errorf("%T does not hold the documented answer (-documented +kept):\n%s", got, diff)
	}
}

// Every operation has a method, every parameter a way to give it, every member of
// an answer a field.
func TestTheClientIsWholeByTheDocument(t *testing.T) {
	t.Parallel()
	s := &stage{T: t, document: readDocument(t), seen: map[string]map[string]bool{}}
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL, AppKey: "key", Token: client.StaticToken("token")})
	must(t, err)
	ctx, id := t.Context(), "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11"

	for _, who := range []client.Ref{client.ByID(id), client.ByEmail("ada+1@example.com"), client.ByID(client.Me)} {
		got, err := c.WaitActive(ctx, who, time.Second, client.IfNoneMatch(`"0-text"`), client.RequestID("me"))
		must(t, err)
		if got.ETag != `"1-text"` {
			t.Errorf("ETag %s", got.ETag)
		}
		if who != client.ByEmail("ada+1@example.com") {
			s.whole(got, nil)
		}
		for _, change := range []client.Change{client.FirstName("Ada"), client.LastName("L"), client.Link("auth0|1"), client.Unlink()} {
			must(t, c.Update(ctx, who, change, client.IfMatch(got.ETag)))
		}
		must(t, c.Close(ctx, who, client.IfMatch(got.ETag)))
		proof, err := c.Erase(ctx, who, client.AndAuth0User())
		s.whole(proof, err)
	}
	one, err := c.Customer(ctx, client.ByID(id))
	s.whole(one, err)
	_, err = c.Create(ctx, client.NewCustomer{FirstName: "Ada", LastName: "L", EmailAddress: "ada@example.com"})
	must(t, err)
	for _, filter := range []client.Filter{{}, {Lifecycle: client.Active, UpdatedSince: time.Now(), PageSize: 7}} {
		for listed, err := range c.Customers(ctx, filter) {
			s.whole(listed, err)
		}
	}
	explanation, err := c.Explain(ctx, id)
	s.whole(explanation, err)
	synced, err := c.Sync(ctx, client.Me)
	s.whole(synced, err)
	for conflict, err := range c.Conflicts(ctx, 7) {
		s.whole(conflict, err)
	}
	for _, decided := range []client.Resolution{
		{AuthUserID: "auth0|1", Why: "They said so."}, {Action: client.CloseCustomer, Why: "They said so."}, {Action: client.LookAgain},
	} {
		must(t, c.Resolve(ctx, id, decided))
	}
	proof, err := c.Erasure(ctx, id)
	s.whole(proof, err)
	for page, err := range c.Events(ctx, "text", 7) {
		s.whole(page.Events, err)
		if page.After != "text" {
			t.Errorf("after %q", page.After)
		}
	}

	operations := s.document.operations()
	if len(operations) < 13 {
		t.Errorf("only %d operations were found", len(operations))
	}
	for operation, parameters := range operations {
		used := s.seen[operation]
		if used == nil {
			t.Errorf("no method makes the call %s", operation)
		}
		for _, name := range parameters {
			// The list goes by its own cursors.
			if !used[name] && name != "cursor" {
				t.Errorf("%s: nothing gives %s", operation, name)
			}
		}
	}
}

// constants are those of a type in this package, by value.
func constants(t *testing.T, kind string) []string {
	t.Helper()
	values := []string{}
	names, err := os.ReadDir(".")
	must(t, err)
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), ".go") || strings.HasSuffix(name.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name.Name(), nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == kind {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				must(t, err)
				values = append(values, value)
			}
			return true
		})
	}
	slices.Sort(values)
	return values
}

func TestEveryDocumentedNameIsAConstantAndNoOther(t *testing.T) {
	t.Parallel()
	d := readDocument(t)
	for kind, path := range map[string][]string{
		"Code":      {"Error", "properties", "error", "properties", "code"},
		"Lifecycle": {"Lifecycle"},
		"Reason":    {"Explanation", "properties", "reason"},
		"EventType": {"Event", "properties", "type"},
	} {
		documented := []string{}
		for _, one := range d.at(map[string]any(d), append([]string{"components", "schemas"}, path...)...)["enum"].([]any) {
			if name, ok := one.(string); ok {
				documented = append(documented, name)
			}
		}
		slices.Sort(documented)
		if diff := cmp.Diff(documented, constants(t, kind)); diff != "" || len(documented) == 0 {
			t.Errorf("%s (-documented +constants):\n%s", kind, diff)
		}
	}
}

// A query is sent as it is meant: a bare + would be a space.
func TestAddressesAreEncoded(t *testing.T) {
	t.Parallel()
	var got url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query()
		_, _ = io.WriteString(w, `{"success":true,"data":{}}`)
	}))
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL + "/behind/", AppKey: "key", Token: client.StaticToken("token")})
	must(t, err)
	_, err = c.Customer(t.Context(), client.ByEmail("ada+shop&x=1@example.com"))
	must(t, err)
	if diff := cmp.Diff([]string{"email_address"}, slices.Collect(maps.Keys(got))); diff != "" || got.Get("email_address") != "ada+shop&x=1@example.com" {
		t.Errorf("query %v", got)
	}
}
