// Package discreet gives tests loggers that fail them where something is logged that
// must not be, at any level.
package discreet

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// forms are what personal data and secrets look like, whosever they are.
var forms = map[string]*regexp.Regexp{ //nolint:gochecknoglobals // a table
	"an e-mail address":    regexp.MustCompile(`[\pL\pN._+-]+@([\pL\pN-]+\.)+\pL{2,}`),
	"an access token":      regexp.MustCompile(`eyJ[\w-]{8,}\.`),
	"a secret of webhooks": regexp.MustCompile(`whsec_[\w+/=]{8}`),
	"credentials":          regexp.MustCompile(`(?i)\b(bearer|basic) [\w.~+/=-]{8}`),
	"a password in a URL":  regexp.MustCompile(`\w://[^/\s:@]*:[^/\s@]+@`),
}

// Logger logs everything to nobody. When the test ends, it fails if any of that was
// one of the secrets, or looks like one or like an e-mail address.
func Logger(t testing.TB, secrets ...string) *zap.Logger {
	t.Helper()
	log := &lines{}
	t.Cleanup(func() { Check(t, log.String(), secrets...) })
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), log, zapcore.DebugLevel))
}

// Check fails the test for each line of a log with what must not be in it, once a
// kind.
func Check(t testing.TB, log string, secrets ...string) {
	t.Helper()
	for what, line := range found(log, secrets) {
		t.Errorf("the log holds %s: %.600s", what, line)
	}
}

func found(log string, secrets []string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(log) {
		for what, form := range forms {
			if form.MatchString(line) {
				all[what] = line
			}
		}
		for _, secret := range secrets {
			quoted, _ := json.Marshal(secret) // a text always can be
			if secret != "" && (strings.Contains(line, secret) || strings.Contains(line, strings.Trim(string(quoted), `"`))) {
				all["a secret"] = line
			}
		}
	}
	return all
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements zapcore.WriteSyncer.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// Sync implements zapcore.WriteSyncer.
func (l *lines) Sync() error { return nil }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
