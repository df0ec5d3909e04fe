package main

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

// The daemon needs the audience with a login and without one: it is asked for once.
func TestAnAudienceThatIsMissingIsNamedOnce(t *testing.T) {
	t.Parallel()
	env := map[string]string{"CUSTOMERSYNC_OPS_URL": "https://ops.acme.example"}
	_, err := settings{DataDir: t.TempDir()}.config(func(key string) string { return env[key] }, needsAll)
	if err == nil || strings.Count(err.Error(), "AUTH0_AUDIENCE (auth0_audience): not set") != 1 {
		t.Errorf("%v", err)
	}
}

func TestALoginIsConfiguredWhollyOrNotAtAll(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  map[string]string
		says []string // of faults; none: it is taken
	}{
		"nothing":              {map[string]string{}, nil},
		"all":                  {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://ops.acme.example/", "AUTH0_OPS_CLIENT_ID": "web", "AUTH0_OPS_CLIENT_SECRET": "hush", "AUTH0_AUDIENCE": "https://api"}, nil},
		"on loopback":          {map[string]string{"CUSTOMERSYNC_OPS_URL": "http://127.0.0.1:9090", "AUTH0_OPS_CLIENT_ID": "web", "AUTH0_OPS_CLIENT_SECRET": "hush", "AUTH0_AUDIENCE": "https://api"}, nil},
		"the URL alone":        {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://ops.acme.example"}, []string{"AUTH0_OPS_CLIENT_ID (auth0_ops_client_id): not set", "AUTH0_OPS_CLIENT_SECRET (auth0_ops_client_secret): not set"}},
		"the secret alone":     {map[string]string{"AUTH0_OPS_CLIENT_SECRET": "hush"}, []string{"CUSTOMERSYNC_OPS_URL (ops_url): not set", "AUTH0_OPS_CLIENT_ID"}},
		"plain http":           {map[string]string{"CUSTOMERSYNC_OPS_URL": "http://ops.acme.example"}, []string{`CUSTOMERSYNC_OPS_URL (ops_url): "http://ops.acme.example" from the environment: expected https://`}},
		"http like loopback":   {map[string]string{"CUSTOMERSYNC_OPS_URL": "http://127.0.0.1.evil.example"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"with a path":          {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://acme.example/ops/"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"with credentials":     {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://u:p@acme.example"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"with a query":         {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://acme.example?x"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"a host alone":         {map[string]string{"CUSTOMERSYNC_OPS_URL": "ops.acme.example"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"another scheme":       {map[string]string{"CUSTOMERSYNC_OPS_URL": "javascript://ops.acme.example"}, []string{"CUSTOMERSYNC_OPS_URL"}},
		"nothing but a scheme": {map[string]string{"CUSTOMERSYNC_OPS_URL": "https://"}, []string{"CUSTOMERSYNC_OPS_URL"}},
	} {
		_, err := settings{DataDir: t.TempDir()}.config(func(key string) string { return test.env[key] }, needsDatabase)
		if (err == nil) != (test.says == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, says := range test.says {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, without %q", name, err, says)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: a secret is told: %v", name, err)
		}
	}
}

// visitor is somebody with a browser that keeps cookies and follows redirects.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func newVisitor(t *testing.T) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return visitor{t, &http.Client{Jar: jar}}
}

// sees is the page that a visitor ends on, after posting a form if there is one.
func (v visitor) sees(at string, form url.Values) (status int, body string, ended *url.URL) {
	v.t.Helper()
	var res *http.Response
	var err error
	if form == nil {
		res, err = v.client.Get(at)
	} else {
		res, err = v.client.PostForm(at, form)
	}
	must(v.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(v.t, err)
	return res.StatusCode, string(text), res.Request.URL
}

// The program as it is shipped, a tenant, and a person who signs in.
func TestPeopleSignInToTheDaemon(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	must(t, l.Close())
	site, dsn := "http://"+at, storetest.DSN(t)
	sim.SetApplication([]string{site + "/ops/callback"}, []string{site + "/ops/signed-out"})
	for email, permissions := range map[string][]string{"sam@acme.example": {"ops:read", "ops:pii"}, "eve@acme.example": {"read:customers"}} {
		u, err := sim.SignUp(auth0sim.SignUp{Email: email})
		must(t, err)
		sim.SetPermissions(u.ID, permissions...)
	}
	d := startServe(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_OPS_LISTEN="+at, "CUSTOMERSYNC_OPS_URL="+site, "AUTH0_OPS_CLIENT_ID=sim-web", "AUTH0_OPS_CLIENT_SECRET=sim-web-secret"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	id := pending(t, openDSN(t, dsn), "ada.secret@example.com")
	path := site + "/ops/customers/" + string(id)
	for _, tools := range []string{"/livez", "/metrics"} {
		if status, _ := get(t, d.ops+tools); status != 200 {
			t.Errorf("%s asks to sign in: %d", tools, status)
		}
	}
	for email, status := range map[string]int{"sam@acme.example": 200, "eve@acme.example": 403} {
		v := newVisitor(t)
		_, form, login := v.sees(path, nil)
		if login.Path != "/u/login" || !strings.Contains(form, "Log in") {
			t.Fatalf("%s: asked by %s: %s", email, login, form)
		}
		got, body, ended := v.sees(login.String(), url.Values{"username": {email}, "password": {auth0sim.Password}})
		if got != status || ended.String() != path || strings.Contains(body, "secret") {
			t.Errorf("%s: %d at %s: %s", email, got, ended, body)
		}
		if got, body, _ = v.sees(path+"/reveal", url.Values{"why": {"they called us"}}); got != status || strings.Contains(body, "ada.secret@example.com") != (status == 200) {
			t.Errorf("%s reveals: %d %s", email, got, body)
		}
		if got, body, _ = v.sees(path+"/act", url.Values{"why": {"to do harm"}, "do": {"close"}, "version": {"1"}}); got != 403 || !strings.Contains(body, "This needs the permission ops:") {
			t.Errorf("%s acts: %d %s", email, got, body)
		}
		for _, cookie := range v.client.Jar.Cookies(ended) {
			if strings.Contains(d.log.String(), cookie.Value) {
				t.Errorf("the log holds the cookie %s", cookie.Name)
			}
		}
	}
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, secret := range []string{"ada.secret", "sim-web-secret", "they called us", "eyJ"} {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
