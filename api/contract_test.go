package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// contract is openapi.yaml, to hold answers against. Schemas of OpenAPI 3.1 are
// JSON Schema 2020-12, and its references are that of one document, so a
// validator of JSON Schema is all it takes.
type contract struct {
	document map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

const contractFile = "openapi.json"

func newContract(t *testing.T) *contract {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	must(t, err)
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	must(t, yaml.Unmarshal(text, &c.document))
	closed(c.document)
	plain, err := json.Marshal(c.document)
	must(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	must(t, err)
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	must(t, c.compiler.AddResource(contractFile, document))
	return c
}

// closed has objects take no members but those that are documented: else an
// answer could have any.
func closed(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, object := node["properties"].(map[string]any); object && node["additionalProperties"] == nil {
			node["additionalProperties"] = false
		}
		for name, below := range node {
			if name != "examples" {
				closed(below)
			}
		}
	case []any:
		for _, below := range node {
			closed(below)
		}
	}
}

// checked is a handler whose every answer is held against the document.
func (c *contract) checked(t *testing.T, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		copied := &copyWriter{ResponseWriter: w}
		h.ServeHTTP(copied, r) // one that is broken off panics, and is not looked at
		const most = 256 << 10 // bytes
		if copied.body.Len() > most || copied.status == 499 {
			return
		}
		if why := c.wrong(r, copied); why != "" {
			t.Errorf("%s %s (%s): %d is not as documented: %s\n%.500s", r.Method, r.URL.Path, r.Pattern, copied.status, why, copied.body.String())
		}
	})
}

// copyWriter keeps what is written.
type copyWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *copyWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *copyWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_, _ = w.body.Write(b) // never fails
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *copyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// wrong says how an answer is not as documented.
func (c *contract) wrong(r *http.Request, w *copyWriter) string {
	response, path := c.response(r.Pattern, w.status)
	if response == nil {
		return "this status is not documented"
	}
	content, _ := response["content"].(map[string]any)
	media := w.Header().Get("Content-Type")
	switch {
	case w.Header().Get("X-Request-Id") == "":
		return "no X-Request-Id"
	case w.status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "":
		return "no Retry-After"
	case len(content) == 0 && w.body.Len() == 0:
		return ""
	case content[media] == nil:
		return "media type " + media
	case media != "application/json":
		return ""
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.body.Bytes()))
	if err != nil {
		return "not JSON"
	}
	if err := c.schema(path + "/content/application~1json/schema").Validate(instance); err != nil {
		return err.Error()
	}
	return ""
}

// response is what is documented of a call and status, and its JSON pointer. What
// is no documented call may only be answered by an error.
func (c *contract) response(pattern string, status int) (map[string]any, string) {
	method, path, _ := strings.Cut(pattern, " ")
	code := strconv.Itoa(status)
	at := []string{"paths", path, strings.ToLower(method), "responses", code}
	found := c.at(at...)
	switch {
	case found != nil:
	case status < http.StatusBadRequest:
		return nil, ""
	case path == "":
		at = []string{"components", "responses", "Error"}
	default:
		at[len(at)-1] = "default"
	}
	found = c.at(at...)
	if ref, ok := found["$ref"].(string); ok {
		at = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		found = c.at(at...)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	pointer := "#"
	for _, name := range at {
		pointer += "/" + escape.Replace(name)
	}
	return found, pointer
}

func (c *contract) at(path ...string) map[string]any {
	node := c.document
	for _, name := range path {
		node, _ = node[name].(map[string]any)
	}
	return node
}

func (c *contract) schema(pointer string) *jsonschema.Schema {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.schemas[pointer] == nil {
		c.schemas[pointer] = c.compiler.MustCompile(contractFile + pointer)
	}
	return c.schemas[pointer]
}
