package auth0sim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// exchange is one of go-auth0's recordings with a real tenant.
type exchange struct {
	Request struct {
		Body    string
		URL     string `yaml:"url"`
		Method  string
		Headers map[string][]string
	}
	Response struct {
		Body    string
		Code    int
		Headers map[string][]string
	}
}

// Whatever a real tenant answered, the simulated one answers in the same shape.
// testdata has a sample in the format of the recordings; theirs lie outside.
func TestAnswersHaveTheShapeOfRecordedOnes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/recordings/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings in testdata", err)
	}
	real, err := filepath.Glob("../../../shared/auth0/recordings/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, real...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var recording struct{ Interactions []exchange }
			if err := yaml.Unmarshal(text, &recording); err != nil || len(recording.Interactions) == 0 {
				t.Fatal("no interactions", err)
			}
			newReplay(t, recording.Interactions).run(recording.Interactions)
		})
	}
}

// replay sends recorded requests; ids that the tenant made are replaced by those
// that the simulator made instead.
type replay struct {
	client
	ids map[string]string // recorded → simulated
}

func newReplay(t *testing.T, all []exchange) *replay {
	t.Helper()
	o := Options{}
	if form, err := url.ParseQuery(all[0].Request.Body); err == nil && form.Has("client_id") {
		o.ClientID, o.ClientSecret = form.Get("client_id"), form.Get("client_secret")
	}
	r := &replay{serve(t, o), map[string]string{}}
	for i := range 30 { // for the log
		r.do("POST", "/api/v2/users", fmt.Sprintf(`{"connection":"email","email":"u%d@example.com"}`, i)).want(201, "")
	}
	return r
}

func (r *replay) run(all []exchange) {
	for _, x := range all {
		name := x.Request.Method + " " + x.Request.URL
		got := r.send(x)
		if got.status != x.Response.Code {
			r.t.Errorf("%s: status %d, recorded %d: %s", name, got.status, x.Response.Code, got.body)
			continue
		}
		if want := http.Header(x.Response.Headers).Get("Content-Type"); got.header.Get("Content-Type") != want {
			r.t.Errorf("%s: content type %q, recorded %q", name, got.header.Get("Content-Type"), want)
		}
		if x.Response.Body == "" {
			if len(got.body) > 0 {
				r.t.Errorf("%s: body %s, recorded none", name, got.body)
			}
			continue
		}
		var have, want any
		if err := json.Unmarshal([]byte(x.Response.Body), &want); err != nil {
			r.t.Fatal(err)
		}
		if err := json.Unmarshal(got.body, &have); err != nil {
			r.t.Fatalf("%s: %v", name, err)
		}
		r.learn(want, have)
		s := shape{loose: regexp.MustCompile(`/options$|/enabled_clients$|/details$`), nullable: strings.Contains(name, "/api/v2/logs")}
		for _, difference := range s.compare("", want, have) {
			r.t.Errorf("%s: %s", name, difference)
		}
	}
}

var checkpoint = regexp.MustCompile(`from=\d+`)

func (r *replay) send(x exchange) answer {
	r.t.Helper()
	pairs := []string{}
	for recorded, simulated := range r.ids {
		pairs = append(pairs, recorded, simulated, url.PathEscape(recorded), url.PathEscape(simulated))
	}
	replace := strings.NewReplacer(pairs...).Replace
	target, err := url.Parse(replace(x.Request.URL))
	if err != nil {
		r.t.Fatal(err)
	}
	target.RawQuery = checkpoint.ReplaceAllString(target.RawQuery, "from="+r.tenant.tenantLog.entries[3].id)
	req, err := http.NewRequestWithContext(r.t.Context(), x.Request.Method, r.url+target.RequestURI(), strings.NewReader(replace(x.Request.Body)))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = maps.Clone(x.Request.Headers)
	req.Header.Set("Authorization", "Bearer "+r.token)
	if strings.HasPrefix(target.Path, "/oauth/") {
		req.Header.Del("Authorization")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{r.t, res.StatusCode, res.Header, body}
}

// learn notes which simulated id stands for a recorded one.
func (r *replay) learn(want, have any) {
	switch want := want.(type) {
	case map[string]any:
		have, _ := have.(map[string]any)
		for name, value := range want {
			recorded, is := value.(string)
			simulated, is2 := have[name].(string)
			if is && is2 && (name == "user_id" || name == "id") {
				r.ids[recorded] = simulated
			}
			r.learn(value, have[name])
		}
	case []any:
		have, _ := have.([]any)
		for i := range min(len(want), len(have)) {
			r.learn(want[i], have[i])
		}
	}
}

// shape compares members and JSON types, not values.
type shape struct {
	loose    *regexp.Regexp // paths whose inside may differ
	nullable bool           // a null may stand for any type
}

func (s shape) compare(path string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T instead of an object", path, have)}
		}
		return s.compareObjects(path, want, have)
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) && !s.loose.MatchString(path) {
			return []string{fmt.Sprintf("%s: %d elements, recorded %d", path, len(have), len(want))}
		}
		all := []string{}
		for i := range min(len(want), len(have)) {
			all = append(all, s.compare(fmt.Sprintf("%s/%d", path, i), want[i], have[i])...)
		}
		return all
	}
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", have) && !(s.nullable && (want == nil || have == nil)) {
		return []string{fmt.Sprintf("%s: %T, recorded %T", path, have, want)}
	}
	return nil
}

func (s shape) compareObjects(path string, want, have map[string]any) []string {
	all := []string{}
	if s.loose.MatchString(path) {
		return all
	}
	names, recorded := slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(want))
	if !slices.Equal(names, recorded) {
		all = append(all, fmt.Sprintf("%s: members %v, recorded %v", path, names, recorded))
	}
	for _, name := range recorded {
		if value, ok := have[name]; ok {
			all = append(all, s.compare(path+"/"+name, want[name], value)...)
		}
	}
	return all
}

// An event has what the schema demands, and nothing that a real one does not have.
func TestEventHasTheShapeOfARecordedOne(t *testing.T) {
	t.Parallel()
	files := []string{"testdata/recordings/event.json"}
	if real := "../../../shared/auth0/recordings/cloudevent_user.created.json"; onDisk(real) {
		files = append(files, real)
	}
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.tenant.ConnectEventStream(s.URL, "token")
	c.signUp(SignUp{Email: "ada@example.com", Username: "ada", AppMetadata: map[string]any{"plan": "pro"}})
	c.tenant.Settle()
	var event map[string]any
	if err := json.Unmarshal(s.all()[0].body, &event); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var recorded map[string]any
		if err := json.Unmarshal(text, &recorded); err != nil {
			t.Fatal(err)
		}
		compareEvent(t, file, event, recorded)
	}
}

func onDisk(path string) bool { _, err := os.Stat(path); return err == nil }

func compareEvent(t *testing.T, file string, event, recorded map[string]any) {
	t.Helper()
	for _, name := range []string{"specversion", "type", "source", "id", "time", "data", "a0tenant", "a0stream"} {
		if fmt.Sprintf("%T", event[name]) != fmt.Sprintf("%T", recorded[name]) {
			t.Errorf("%s: %s is %T, recorded %T", file, name, event[name], recorded[name])
		}
	}
	if id, _ := event["id"].(string); !regexp.MustCompile(`^evt_[A-Za-z0-9]{22}$`).MatchString(id) {
		t.Errorf("id %q", id)
	}
	object, _ := event["data"].(map[string]any)["object"].(map[string]any)
	theirs, _ := recorded["data"].(map[string]any)["object"].(map[string]any)
	for name, value := range object {
		if fmt.Sprintf("%T", value) != fmt.Sprintf("%T", theirs[name]) {
			t.Errorf("%s: object.%s is %T, recorded %T", file, name, value, theirs[name])
		}
	}
	for _, name := range []string{"user_id", "created_at", "updated_at", "identities"} {
		if object[name] == nil {
			t.Errorf("object has no %s", name)
		}
	}
}
