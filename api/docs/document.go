package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// document is what the page shows of an OpenAPI document (OpenAPI 3.1.0, section 4.8).
type document struct {
	Info struct {
		Title       string
		Description string
	}
	Calls []call
}

// call is an operation on a path.
type call struct {
	Method, Path         string
	Summary, Description string
	Curl                 string
	Body                 string // an example of it; "" if the call has none
	Open                 bool   // needs neither key nor token
	Parameters           []parameter
	Answers              []answer
}

// Anchor names the call within the page.
func (c call) Anchor() string {
	return strings.ToLower(c.Method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(c.Path)
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name, In    string
	Description string
	Required    bool
	Example     string
	Schema      schema
}

type schema struct {
	Ref              string `yaml:"$ref"`
	Type             any
	Enum             []string
	Format           string
	Default          any
	Minimum, Maximum *int
}

// Values says what the parameter may be, as far as its schema tells.
func (p parameter) Values() string {
	s := p.Schema
	text := fmt.Sprint(s.Type)
	switch {
	case len(s.Enum) > 0:
		text = strings.Join(s.Enum, ", ")
	case s.Minimum != nil && s.Maximum != nil:
		text = fmt.Sprintf("%d to %d", *s.Minimum, *s.Maximum)
	case s.Format != "":
		text = s.Format
	case s.Type == nil:
		text = ""
	}
	if s.Default != nil {
		text += fmt.Sprintf(", %v if left out", s.Default)
	}
	return text
}

type answer struct {
	Ref         string `yaml:"$ref"`
	Status      string `yaml:"-"`
	Description string
}

type body struct {
	Ref     string `yaml:"$ref"`
	Content map[string]struct{ Example any }
}

type operation struct {
	Summary, Description string
	Security             *[]any // empty: the call needs neither key nor token
	Parameters           []parameter
	RequestBody          *body `yaml:"requestBody"`
	Responses            map[string]answer
}

// source is the document as it is written. Paths and methods stay in its order.
type source struct {
	Info struct {
		Title       string
		Description string
	}
	Paths      yaml.Node
	Components struct {
		Schemas       map[string]schema
		Parameters    map[string]parameter
		Responses     map[string]answer
		RequestBodies map[string]body `yaml:"requestBodies"`
	}
}

func parse(text []byte) (document, error) {
	var s source
	if err := yaml.Unmarshal(text, &s); err != nil {
		return document{}, err
	}
	d := document{Info: s.Info}
	err := each(&s.Paths, func(at string, item *yaml.Node) error {
		var shared struct{ Parameters []parameter }
		if err := item.Decode(&shared); err != nil {
			return err
		}
		return each(item, func(method string, node *yaml.Node) error {
			if method == "parameters" {
				return nil
			}
			var o operation
			if err := node.Decode(&o); err != nil {
				return fmt.Errorf("%s %s: %w", method, at, err)
			}
			o.Parameters = slices.Concat(shared.Parameters, o.Parameters)
			c, err := s.call(strings.ToUpper(method), at, o)
			d.Calls = append(d.Calls, c)
			return err
		})
	})
	return d, err
}

// each goes through a mapping in its order.
func each(mapping *yaml.Node, do func(name string, value *yaml.Node) error) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if err := do(mapping.Content[i].Value, mapping.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (s source) call(method, at string, o operation) (call, error) {
	c := call{Method: method, Path: at, Summary: o.Summary, Description: o.Description}
	for _, p := range o.Parameters {
		if p.Ref != "" {
			p = s.Components.Parameters[path.Base(p.Ref)]
		}
		if p.Name == "" {
			return c, fmt.Errorf("%s %s: a parameter refers to nothing", method, at)
		}
		if p.Schema.Ref != "" {
			p.Schema = s.Components.Schemas[path.Base(p.Schema.Ref)]
		}
		c.Parameters = append(c.Parameters, p)
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		a := o.Responses[status]
		if a.Ref != "" {
			a = s.Components.Responses[path.Base(a.Ref)]
		}
		if a.Description == "" {
			return c, fmt.Errorf("%s %s: answer %s has no description", method, at, status)
		}
		a.Status = status
		c.Answers = append(c.Answers, a)
	}
	c.Open = o.Security != nil && len(*o.Security) == 0
	var err error
	c.Body, err = s.bodyOf(o)
	if err != nil {
		return c, fmt.Errorf("%s %s: %w", method, at, err)
	}
	c.Curl = curl(c)
	return c, nil
}

// bodyOf is the example of a call's body.
func (s source) bodyOf(o operation) (string, error) {
	if o.RequestBody == nil {
		return "", nil
	}
	b := *o.RequestBody
	if b.Ref != "" {
		b = s.Components.RequestBodies[path.Base(b.Ref)]
	}
	example, err := json.Marshal(b.Content["application/json"].Example)
	if err != nil || string(example) == "null" {
		return "", errors.New("its body has no example")
	}
	return string(example), nil
}

// curl is the call as a line for a shell.
func curl(c call) string {
	address, mark := strings.ReplaceAll(c.Path, "{customer_id}", "$CUSTOMER_ID"), "?"
	for _, p := range c.Parameters {
		if p.In == "query" && p.Required {
			address, mark = address+mark+p.Name+"="+p.Example, "&"
		}
	}
	line := "curl -s "
	if c.Method != http.MethodGet {
		line += "-X " + c.Method + " "
	}
	line += `"$API` + address + `"`
	if !c.Open {
		line += ` -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $TOKEN"`
	}
	if c.Body != "" {
		line += ` -H "Content-Type: application/json" -d '` + c.Body + `'`
	}
	return line
}
