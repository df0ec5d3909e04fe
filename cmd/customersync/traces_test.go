package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

// taken is a collector of traces.
type taken struct {
	mu    sync.Mutex
	raw   bytes.Buffer
	spans []*otlp.Span
}

// ServeHTTP takes an export in.
func (c *taken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var export collector.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &export) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// span is the first of this name.
func (c *taken) span(t *testing.T, name string) *otlp.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %s of %d", name, len(c.spans))
	return nil
}

func TestTracesLeadFromARequestToTheDatabaseAndFromARunToAuth0(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	traces := &taken{}
	server := httptest.NewServer(traces)
	t.Cleanup(server.Close)
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_FOLLOW=off", "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL+"/"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	_, key, err := openDSN(t, dsn).CreateAppKey(t.Context(), "shop")
	must(t, err)
	_, err = sim.SignUp(auth0sim.SignUp{Email: "ada@example.com", EmailVerified: verified()})
	must(t, err)
	request := func(method, path, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), method, d.api+"/customer/v1/customers"+path, strings.NewReader(body))
		must(t, err)
		req.Header = http.Header{
			"Authorization": {"Bearer " + sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: []string{"read:customers", "create:customers", "update:customers"}})},
			"Ahiko-App-Id":  {key}, "Content-Type": {"application/json"},
			"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		}
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, answer)
		}
		return string(answer)
	}
	answer := request("POST", "", `{"first_name":"Ada","last_name":"Lovelace","email_address":"ada@example.com"}`)
	var created struct {
		ID string `json:"customer_id"`
	}
	must(t, json.Unmarshal([]byte(answer), &created))
	request("POST", "/"+created.ID+"/sync", "")        // a run looks the customer up
	if code := d.stop(t, syscall.SIGTERM); code != 0 { // the last spans are sent then
		t.Errorf("exit code %d", code)
	}

	root, found := traces.span(t, "POST /customer/v1/customers/{customer_id}/sync"), traces.span(t, "store: find customer")
	if !bytes.Equal(found.TraceId, root.TraceId) || !bytes.Equal(found.ParentSpanId, root.SpanId) {
		t.Error("the look into the database is not the request's")
	}
	if root.TraceId[0] != 0x0a || root.ParentSpanId[0] != 0xb7 {
		t.Errorf("the request is not in its caller's trace but in %x", root.TraceId)
	}
	if made := traces.span(t, "store: create"); !bytes.Equal(made.ParentSpanId, traces.span(t, "POST /customer/v1/customers").SpanId) {
		t.Error("the making of a customer is not the request's")
	}
	run, call := traces.span(t, "run inbox"), traces.span(t, "auth0: GET /api/v2/users-by-email")
	if !bytes.Equal(call.TraceId, run.TraceId) || len(run.ParentSpanId) > 0 {
		t.Error("the call of Auth0 is not the run's")
	}
	for _, personal := range []string{"ada@", "example.com", "Lovelace", key, "sim-secret", "auth0|"} {
		if bytes.Contains(traces.raw.Bytes(), []byte(personal)) {
			t.Errorf("%s is in the traces", personal)
		}
	}
}
