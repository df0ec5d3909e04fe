package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/worker"
	"github.com/ahiko-io/customersync/worker/outgoing"
)

// config is what the settings come to, checked.
type config struct {
	databaseURL string // "": embedded
	dataDir     string
	pgBouncer   bool
	listen      string
	opsListen   string
	opsURL      *url.URL // nil: nobody signs in to the operator page
	stopDelay   time.Duration

	domain          string
	baseURL         string
	clientID        string
	clientSecret    string
	opsClientID     string
	opsClientSecret string
	audience        string
	share           float64

	actionSecrets []string
	streamTokens  []string
	logTokens     []string
	eventTargets  []outgoing.Target
	eraseKeys     [][]byte

	follow       string
	schedule     string
	reconcile    string        // "": off
	firstBackoff time.Duration // 0: the worker's own; the demo hurries
	policy       auth0sync.Policy
	unlinks      worker.Breaker
	emailClaim   string
	logKey       []byte
	otlpEndpoint string // "": no traces
	logLevel     zapcore.Level
}

// issuer is the iss of access tokens, with its slash.
func (c config) issuer() string {
	if c.baseURL != "" {
		return c.baseURL + "/"
	}
	return "https://" + c.domain + "/"
}

// needs says which settings a verb cannot do without.
type needs int

const (
	needsDatabase needs = iota // the database alone
	needsAuth0                 // and to ask Auth0
	needsAll                   // and to serve the API
)

// config checks the settings. All faults are named at once, each with its key,
// where the value came from and what was expected; they are usage errors.
func (s settings) config(getenv func(string) string, n needs) (config, error) {
	loaded, err := s.load(getenv)
	f := faults{loaded: loaded}
	if err != nil {
		f.errs = append(f.errs, err)
	}
	c := config{
		databaseURL:     f.text("database_url"),
		dataDir:         f.text("data_dir"),
		pgBouncer:       f.yes("pgbouncer"),
		listen:          f.address("listen"),
		opsListen:       f.address("ops_listen"),
		opsURL:          f.siteURL("ops_url"),
		stopDelay:       f.delay("stop_delay"),
		domain:          f.domain("auth0_domain"),
		baseURL:         f.loopbackURL("auth0_base_url"),
		clientID:        f.text("auth0_client_id"),
		clientSecret:    f.text("auth0_client_secret"),
		opsClientID:     f.text("auth0_ops_client_id"),
		opsClientSecret: f.text("auth0_ops_client_secret"),
		audience:        f.text("auth0_audience"),
		share:           f.fraction("auth0_share"),
		actionSecrets:   f.list("action_secrets"),
		streamTokens:    f.list("event_stream_tokens"),
		logTokens:       f.list("log_stream_tokens"),
		eventTargets:    f.targets("event_targets"),
		eraseKeys:       f.keys("erase_keys"),
		follow:          f.oneOf("follow", worker.FollowAuto, worker.FollowEvents, worker.FollowLogs, worker.FollowOff),
		schedule:        f.schedule("promote_schedule"),
		reconcile:       f.scheduleOrOff("reconcile_schedule"),
		emailClaim:      f.text("email_claim"),
		logKey:          f.key("log_key"),
		otlpEndpoint:    f.webURL("otlp_endpoint"),
		logLevel:        f.level("log_level"),
		policy: auth0sync.Policy{
			TrustedProviders:   f.list("trusted_providers"),
			ConnectionPriority: f.list("connection_priority"),
			OnUserGone:         f.onUserGone("on_user_gone"),
			GoneGrace:          f.duration("gone_grace"),
		},
		unlinks: worker.Breaker{Share: f.fraction("unlink_share"), Least: f.number("unlink_least")},
	}
	f.secrets(c)
	f.login()
	if n >= needsAuth0 {
		if c.domain == "" && c.baseURL == "" && f.text("auth0_domain")+f.text("auth0_base_url") == "" {
			f.add("auth0_domain", "your tenant, such as acme.eu.auth0.com (or auth0_base_url for a simulator)")
		}
		f.required("auth0_client_id", "the id of a machine-to-machine application with read:users")
		f.required("auth0_client_secret", "that application's secret")
	}
	if n >= needsAll {
		f.required("auth0_audience", "the identifier of this API in access tokens")
	}
	if c.databaseURL == "" && c.dataDir == "" {
		if c.dataDir, err = defaultDataDir(); err != nil {
			f.errs = append(f.errs, err)
		}
	}
	if err := errors.Join(f.errs...); err != nil {
		return config{}, usageError{fmt.Errorf("configuration:\n%w", err)}
	}
	return c, nil
}

// defaultDataDir is where the embedded database lives unless told otherwise. As
// root it must be a place that Postgres' own user can reach.
func defaultDataDir() (string, error) {
	if os.Getuid() == 0 {
		return "/var/lib/customersync", nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("data_dir: no home directory to keep the database in: expected CUSTOMERSYNC_DATA_DIR: %w", err)
	}
	return filepath.Join(home, ".local", "share", "customersync"), nil
}

// faults reads settings and gathers what is wrong with them.
type faults struct {
	loaded map[string]setting
	errs   []error
}

// add notes a fault. A secret's value is not repeated.
func (f *faults) add(key, expected string) {
	s := f.loaded[key]
	value := strconv.Quote(s.value)
	if s.secret {
		value = "the value"
	}
	what := fmt.Sprintf("%s from %s", value, s.source)
	if s.value == "" {
		what = "not set"
	}
	f.errs = append(f.errs, fmt.Errorf("  %s (%s): %s: expected %s", s.env, key, what, expected))
}

func (f *faults) text(key string) string { return strings.TrimSpace(f.loaded[key].value) }

func (f *faults) required(key, expected string) {
	if f.text(key) == "" {
		f.add(key, expected)
	}
}

func (f *faults) list(key string) []string {
	var all []string
	for one := range strings.SplitSeq(f.text(key), ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

func (f *faults) targets(key string) (all []outgoing.Target) {
	for _, text := range f.list(key) {
		one, err := outgoing.ParseTarget(text)
		if err == nil && slices.ContainsFunc(all, func(t outgoing.Target) bool { return t.Name == one.Name }) {
			err = errors.New(one.Name + ": must be there once")
		}
		if err != nil {
			f.add(key, fmt.Sprintf("NAME URL SECRET for each target (%v)", err))
			continue
		}
		all = append(all, one)
	}
	return all
}

// leastKey is the shortest key there may be: as long as the hash that it is for.
const leastKey = 32 // bytes

func (f *faults) keys(key string) (all [][]byte) {
	for _, text := range f.list(key) {
		one, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(one) < leastKey {
			f.add(key, "at least 32 bytes in base64, as of: openssl rand -base64 32")
			return nil
		}
		all = append(all, one)
	}
	return all
}

func (f *faults) yes(key string) bool {
	yes, err := strconv.ParseBool(f.text(key))
	if err != nil {
		f.add(key, "true or false")
	}
	return yes
}

func (f *faults) address(key string) string {
	address := f.text(key)
	_, port, err := net.SplitHostPort(address)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		f.add(key, "an address and port, such as 127.0.0.1:8080 or :8080")
	}
	return address
}

func (f *faults) domain(key string) string {
	domain := f.text(key)
	if strings.ContainsAny(domain, "/: @?#") || domain != "" && !strings.Contains(domain, ".") {
		f.add(key, "a host name without https:// and slashes, such as acme.eu.auth0.com")
	}
	return domain
}

// loopbackURL is a simulator's: nothing else may be spoken to without TLS.
func (f *faults) loopbackURL(key string) string {
	text := strings.TrimSuffix(f.text(key), "/")
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Path != "" || u.RawQuery != "" || u.User != nil || !isLoopback(u.Hostname()) {
		f.add(key, "the URL of a simulator on this machine, such as http://127.0.0.1:4000; for a tenant set auth0_domain")
	}
	return text
}

// webURL may have no credentials in it: it is named in messages.
func (f *faults) webURL(key string) string {
	text := f.text(key)
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https") {
		f.add(key, "a URL such as http://127.0.0.1:4318, without credentials")
	}
	return text
}

// siteURL is a site's own, without anything behind its host.
func (f *faults) siteURL(key string) *url.URL {
	text := strings.TrimSuffix(f.text(key), "/")
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || text != u.Scheme+"://"+u.Host || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		f.add(key, "https:// and a host, such as https://ops.acme.example; http:// on loopback alone")
		return nil
	}
	return u
}

// login sees to it that all is there for people to sign in, or nothing.
func (f *faults) login() {
	if f.text("ops_url")+f.text("auth0_ops_client_id")+f.text("auth0_ops_client_secret") == "" {
		return
	}
	f.required("ops_url", "where people open the operator page, since an application to sign in by is set")
	f.required("auth0_ops_client_id", "the id of a regular web application, for people to sign in to the operator page")
	f.required("auth0_ops_client_secret", "that application's secret")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (f *faults) fraction(key string) float64 {
	share, err := strconv.ParseFloat(f.text(key), 64)
	if err != nil || !(share > 0 && share <= 1) {
		f.add(key, "a number above 0 and at most 1")
	}
	return share
}

func (f *faults) number(key string) int {
	n, err := strconv.Atoi(f.text(key))
	if err != nil || n < 1 {
		f.add(key, "a whole number, at least 1")
	}
	return n
}

func (f *faults) duration(key string) time.Duration {
	d, err := time.ParseDuration(f.text(key))
	if err != nil || d <= 0 {
		f.add(key, "a duration above 0, such as 24h or 90m")
	}
	return d
}

func (f *faults) delay(key string) time.Duration {
	d, err := time.ParseDuration(f.text(key))
	if err != nil || d < 0 {
		f.add(key, "a duration, such as 5s or 0s")
	}
	return d
}

func (f *faults) onUserGone(key string) auth0sync.OnUserGone {
	return auth0sync.OnUserGone(f.oneOf(key, string(auth0sync.OnGonePending), string(auth0sync.OnGoneClose), string(auth0sync.OnGoneKeep)))
}

func (f *faults) oneOf(key string, choices ...string) string {
	choice := f.text(key)
	if !slices.Contains(choices, choice) {
		f.add(key, "one of "+strings.Join(choices, ", "))
	}
	return choice
}

func (f *faults) schedule(key string) string {
	spec := f.text(key)
	if err := worker.CheckSchedule(spec); err != nil {
		f.add(key, fmt.Sprintf(`five cron fields or "@every 30s" (%v)`, err))
	}
	return spec
}

func (f *faults) scheduleOrOff(key string) string {
	if f.text(key) == "off" {
		return ""
	}
	return f.schedule(key)
}

func (f *faults) level(key string) zapcore.Level {
	level, err := zapcore.ParseLevel(f.text(key))
	if err != nil || level < zapcore.DebugLevel || level > zapcore.ErrorLevel {
		f.add(key, "debug, info, warn or error")
	}
	return level
}

// secrets checks what deliveries are verified by.
func (f *faults) secrets(c config) {
	if _, err := auth0sync.NewVerifier(auth0sync.Secrets{Actions: c.actionSecrets}, time.Now); err != nil {
		f.add("action_secrets", fmt.Sprintf("secrets as customersync's Actions have them (%v)", err))
	}
	if _, err := auth0sync.NewVerifier(auth0sync.Secrets{EventStreams: c.streamTokens}, time.Now); err != nil {
		f.add("event_stream_tokens", fmt.Sprintf("long random tokens (%v)", err))
	}
	if _, err := auth0sync.NewVerifier(auth0sync.Secrets{LogStreams: c.logTokens}, time.Now); err != nil {
		f.add("log_stream_tokens", fmt.Sprintf("long random tokens (%v)", err))
	}
}

// shortestKey is how long a key must be that nobody is to guess.
const shortestKey = 16

func (f *faults) key(key string) []byte {
	text := f.text(key)
	if text != "" && len(text) < shortestKey {
		f.add(key, fmt.Sprintf("random text of at least %d characters", shortestKey))
	}
	return []byte(text)
}

// zapWarn is the level of verbs that print their own outcome.
const zapWarn = zapcore.WarnLevel

// logger writes JSON lines to stderr.
func (p process) logger(level zapcore.Level) *zap.Logger {
	encoder := zap.NewProductionEncoderConfig()
	encoder.TimeKey = "time"
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.Lock(zapcore.AddSync(p.stderr)), level))
}
