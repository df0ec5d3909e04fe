package docs

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write ../collection.json anew")

// The types are those of Postman's format, version 2.1, which Bruno and Insomnia
// import as well: https://schema.postman.com/collection/json/v2.1.0/draft-07/collection.json
type (
	collection struct {
		Info     collectionInfo `json:"info"`
		Auth     bearer         `json:"auth"`
		Variable []pair         `json:"variable"`
		Item     []folder       `json:"item"`
	}
	collectionInfo struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Schema      string `json:"schema"`
	}
	bearer struct {
		Type   string `json:"type"`
		Bearer []pair `json:"bearer,omitempty"`
	}
	folder struct {
		Name string `json:"name"`
		Item []item `json:"item"`
	}
	item struct {
		Name    string  `json:"name"`
		Request request `json:"request"`
	}
	request struct {
		Method      string   `json:"method"`
		Description string   `json:"description,omitempty"`
		Auth        *bearer  `json:"auth,omitempty"`
		Header      []pair   `json:"header"`
		Body        *rawBody `json:"body,omitempty"`
		URL         address  `json:"url"`
	}
	rawBody struct {
		Mode string `json:"mode"`
		Raw  string `json:"raw"`
	}
	address struct {
		Raw   string   `json:"raw"`
		Host  []string `json:"host"`
		Path  []string `json:"path"`
		Query []pair   `json:"query,omitempty"`
	}
	pair struct {
		Key         string `json:"key"`
		Value       string `json:"value"`
		Type        string `json:"type,omitempty"`
		Description string `json:"description,omitempty"`
		Disabled    bool   `json:"disabled,omitempty"` // to be switched on by whoever wants it
	}
)

func collectionOf(d document) collection {
	c := collection{
		Info: collectionInfo{d.Info.Title, strings.TrimSpace(d.Info.Description), "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
		Auth: bearer{"bearer", []pair{{Key: "token", Value: "{{token}}", Type: "string"}}},
		Variable: []pair{
			{Key: "api", Value: "http://127.0.0.1:8080", Type: "string", Description: "Where the daemon listens."},
			{Key: "app_id", Value: "", Type: "string", Description: "An app key: customersync keys create"},
			{Key: "token", Value: "", Type: "string", Description: "An access token for the API."},
			{Key: "customer_id", Value: "me", Type: "string"},
		},
	}
	for _, one := range d.Calls {
		name := folderOf(one.Path)
		if n := len(c.Item); n == 0 || c.Item[n-1].Name != name {
			c.Item = append(c.Item, folder{Name: name})
		}
		last := &c.Item[len(c.Item)-1]
		last.Item = append(last.Item, item{one.Summary, requestOf(one)})
	}
	return c
}

// folderOf is the part of the API that a path is of.
func folderOf(path string) string {
	name, found := strings.CutPrefix(path, "/customer/v1/")
	if !found {
		return "others"
	}
	name, _, _ = strings.Cut(name, "/")
	return name
}

func requestOf(c call) request {
	path := strings.ReplaceAll(c.Path, "{customer_id}", "{{customer_id}}")
	r := request{Method: c.Method, Description: strings.TrimSpace(c.Description), Header: []pair{}, URL: address{
		Host: []string{"{{api}}"}, Path: strings.Split(strings.TrimPrefix(path, "/"), "/"),
	}}
	var query []string
	for _, p := range c.Parameters {
		one := pair{Key: p.Name, Value: p.Example, Description: strings.TrimSpace(p.Description), Disabled: !p.Required}
		switch p.In {
		case "query":
			r.URL.Query = append(r.URL.Query, one)
			if p.Required {
				query = append(query, p.Name+"="+p.Example)
			}
		case "header":
			r.Header = append(r.Header, one)
		}
	}
	r.URL.Raw = "{{api}}" + path
	if len(query) > 0 {
		r.URL.Raw += "?" + strings.Join(query, "&")
	}
	if c.Open {
		r.Auth = &bearer{Type: "noauth"}
	} else {
		r.Header = append(r.Header, pair{Key: "ahiko-app-id", Value: "{{app_id}}"})
	}
	if c.Body != "" {
		r.Header = append(r.Header, pair{Key: "Content-Type", Value: "application/json"})
		r.Body = &rawBody{"raw", c.Body}
	}
	return r
}

// api/collection.json is what openapi.yaml says, for Postman and Bruno.
func TestTheCollectionIsTheDocuments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	made := collectionOf(d)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(made); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("../collection.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile("../collection.json")
	if err != nil || !bytes.Equal(kept, b.Bytes()) {
		t.Errorf("api/collection.json is not what openapi.yaml says: make docs (%v)", err)
	}
	calls := 0
	for _, folder := range made.Item {
		for _, one := range folder.Item {
			calls++
			r := one.Request
			if (r.Body != nil) != (r.Method == http.MethodPatch || r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Raw, "/sync")) {
				t.Errorf("%s %s: body %v", r.Method, r.URL.Raw, r.Body)
			}
		}
	}
	if calls != len(d.Calls) || calls < 16 {
		t.Errorf("%d calls in the collection, %d in the document", calls, len(d.Calls))
	}
}
