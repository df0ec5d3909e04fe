package discreet

import (
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatMustNotBeLoggedIsFound(t *testing.T) {
	t.Parallel()
	for logged, want := range map[string]string{
		"customer 0198c0de-0000-7000-8000-00000000dead of auth0|1 was linked in 3ms": "",
		"GET /customer/v1/customers?email_address=…@… HTTP/1.1":                      "",
		"cannot look up ada@example.com":                                             "an e-mail address",
		"cannot look up zoë+x@bücher.example.org: 404":                               "an e-mail address",
		"github.com/robfig/cron/v3@v3.0.1/chain.go:45":                               "",
		"token eyJhbGciOiJSUzI1NiJ9.e30.x":                                           "an access token",
		"secret whsec_MDEyMzQ1Njc4OWFi":                                              "a secret of webhooks",
		"Authorization: Bearer a-stream-token":                                       "credentials",
		"postgres://u:hush@db/x":                                                     "a password in a URL",
		`it was "hush \ hush"`:                                                       "a secret",
	} {
		log := &lines{}
		_, _ = log.Write([]byte(logged)) // never fails
		all := found(log.String(), []string{"", `hush \ hush`})
		if _, is := all[want]; len(all) > 1 || is != (want != "") {
			t.Errorf("%s: %q", logged, all)
		}
	}
}

// trial is a test that may fail.
type trial struct {
	testing.TB
	ends   []func()
	failed int
}

func (c *trial) Cleanup(f func())      { c.ends = append(c.ends, f) }
func (c *trial) Errorf(string, ...any) { c.failed++ }

func TestALoggerFailsTheTestInWhichItIsToldASecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log    func(*zap.Logger)
		failed int
	}{
		"nothing":           {func(*zap.Logger) {}, 0},
		"what may be":       {func(l *zap.Logger) { l.Error("failed", zap.String("customer", "1")) }, 0},
		"at debug level":    {func(l *zap.Logger) { l.Debug("asks for hush") }, 1},
		"in a field":        {func(l *zap.Logger) { l.Info("asks", zap.String("key", "hush")) }, 1},
		"in fields before":  {func(l *zap.Logger) { l.With(zap.String("key", "hush")).Info("asks") }, 1},
		"an address and it": {func(l *zap.Logger) { l.Info("asks", zap.Strings("for", []string{"hush", "ada@example.com"})) }, 2},
	} {
		one := &trial{TB: t}
		c.log(Logger(one, "hush"))
		for _, end := range one.ends {
			end()
		}
		if one.failed != c.failed {
			t.Errorf("%s: failed %d times", name, one.failed)
		}
	}
}
