package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// settings are the texts that configure the daemon, as they come from flags,
// environment and file. Tags: name is the flag's, and with _ for - the key in the
// file; from is the environment variable; secrets have no flag, since a command
// line is for everyone to read, but a second variable, …_FILE, that names a file.
type settings struct {
	ConfigFile string `name:"config" from:"CUSTOMERSYNC_CONFIG" placeholder:"FILE" help:"YAML file with settings."`

	DatabaseURL string `kong:"-" name:"database-url" from:"DATABASE_URL" secret:"" help:"Postgres to use, with sslmode. Without it, a database of its own is kept in the data directory."`
	DataDir     string `name:"data-dir" from:"CUSTOMERSYNC_DATA_DIR" placeholder:"DIR" help:"Where the embedded database lives; default /var/lib/customersync as root, else ~/.local/share/customersync."`
	PgBouncer   string `name:"pgbouncer" from:"CUSTOMERSYNC_PGBOUNCER" placeholder:"BOOL" preset:"false" help:"The database is behind PgBouncer in transaction mode."`
	Listen      string `name:"listen" from:"CUSTOMERSYNC_LISTEN" placeholder:"ADDR" preset:"127.0.0.1:8080" help:"Address of the API and the webhook."`
	OpsListen   string `name:"ops-listen" from:"CUSTOMERSYNC_OPS_LISTEN" placeholder:"ADDR" preset:"127.0.0.1:9090" help:"Address of /livez, /readyz and /metrics, and of the operator page /ops/, which is shown on loopback alone unless people sign in to it."`
	OpsURL      string `name:"ops-url" from:"CUSTOMERSYNC_OPS_URL" placeholder:"URL" help:"Where people open the operator page, such as https://ops.acme.example; they sign in at Auth0 then. https, unless it is on loopback."`
	StopDelay   string `name:"stop-delay" from:"CUSTOMERSYNC_STOP_DELAY" placeholder:"DURATION" preset:"5s" help:"How long requests are still taken after SIGTERM, while /readyz fails: load balancers need that to notice. 0s where none is."`

	Auth0Domain       string `name:"auth0-domain" from:"AUTH0_DOMAIN" placeholder:"HOST" help:"The tenant, such as acme.eu.auth0.com."`
	Auth0ClientID     string `name:"auth0-client-id" from:"AUTH0_CLIENT_ID" placeholder:"ID" help:"Machine-to-machine application with read:users on the Management API."`
	Auth0ClientSecret string `kong:"-" name:"auth0-client-secret" from:"AUTH0_CLIENT_SECRET" secret:"" help:"That application's secret."`
	OpsClientID       string `name:"auth0-ops-client-id" from:"AUTH0_OPS_CLIENT_ID" placeholder:"ID" help:"Regular web application that people sign in to the operator page by."`
	OpsClientSecret   string `kong:"-" name:"auth0-ops-client-secret" from:"AUTH0_OPS_CLIENT_SECRET" secret:"" help:"That application's secret."`
	Auth0Audience     string `name:"auth0-audience" from:"AUTH0_AUDIENCE" placeholder:"URI" help:"Identifier of this API in access tokens."`
	Auth0BaseURL      string `name:"auth0-base-url" from:"AUTH0_BASE_URL" placeholder:"URL" help:"A simulator on loopback instead of a tenant: issuer and Management API."`
	Auth0Share        string `name:"auth0-share" from:"CUSTOMERSYNC_AUTH0_SHARE" placeholder:"FRACTION" preset:"0.5" help:"Share of the tenant's rate limit to use; the rest is left to its other applications."`

	ActionSecrets     string `kong:"-" name:"action-secrets" from:"CUSTOMERSYNC_ACTION_SECRETS" secret:"" help:"Secrets that sign Action deliveries, whsec_…, comma-separated; all are valid at once."`
	EventStreamTokens string `kong:"-" name:"event-stream-tokens" from:"CUSTOMERSYNC_EVENT_STREAM_TOKENS" secret:"" help:"Bearer tokens of Event Stream deliveries, comma-separated; all are valid at once."`
	LogStreamTokens   string `kong:"-" name:"log-stream-tokens" from:"CUSTOMERSYNC_LOG_STREAM_TOKENS" secret:"" help:"Bearer tokens of log stream deliveries, comma-separated; all are valid at once."`

	EventTargets string `kong:"-" name:"event-targets" from:"CUSTOMERSYNC_EVENT_TARGETS" secret:"" help:"Where events are delivered to, comma-separated: each a name, an https URL, and the secret, whsec_…, that signs them, with spaces between; a second secret may follow."`
	EraseKeys    string `kong:"-" name:"erase-keys" from:"CUSTOMERSYNC_ERASE_KEYS" secret:"" help:"Keys of at least 32 bytes in base64, comma-separated, for the hashes that erased customers leave behind; the first makes new ones, the others are still known. Without any nobody can be erased."`

	Follow             string `name:"follow" from:"CUSTOMERSYNC_FOLLOW" placeholder:"WHAT" preset:"auto" help:"What of Auth0 is followed without a webhook: events (its event feed), logs, auto (events, or logs where the plan has none) or off."`
	PromoteSchedule    string `name:"promote-schedule" from:"CUSTOMERSYNC_PROMOTE_SCHEDULE" placeholder:"CRON" preset:"@every 30s" help:"When the worker looks at what is due: cron expression in UTC, or @every."`
	ReconcileSchedule  string `name:"reconcile-schedule" from:"CUSTOMERSYNC_RECONCILE_SCHEDULE" placeholder:"CRON" preset:"23 2 * * *" help:"When all customers are held against all users of the tenant: cron expression in UTC, or off."`
	TrustedProviders   string `name:"trusted-providers" from:"CUSTOMERSYNC_TRUSTED_PROVIDERS" placeholder:"LIST" preset:"auth0,email,google-oauth2,apple" help:"Identity providers that may vouch for an e-mail address."`
	ConnectionPriority string `name:"connection-priority" from:"CUSTOMERSYNC_CONNECTION_PRIORITY" placeholder:"LIST" help:"Connections, best first, that settle which of several users is meant."`
	OnUserGone         string `name:"on-user-gone" from:"CUSTOMERSYNC_ON_USER_GONE" placeholder:"WHAT" preset:"pending" help:"What becomes of a customer whose Auth0 user was deleted: pending, close or keep."`
	GoneGrace          string `name:"gone-grace" from:"CUSTOMERSYNC_GONE_GRACE" placeholder:"DURATION" preset:"24h" help:"How long the user must have been gone before that."`
	UnlinkShare        string `name:"unlink-share" from:"CUSTOMERSYNC_UNLINK_SHARE" placeholder:"FRACTION" preset:"0.01" help:"When the users of more than this share of the linked customers are gone, nobody is unlinked until a person approves."`
	UnlinkLeast        string `name:"unlink-least" from:"CUSTOMERSYNC_UNLINK_LEAST" placeholder:"NUMBER" preset:"10" help:"So many may be unlinked whatever their share."`
	EmailClaim         string `name:"email-claim" from:"CUSTOMERSYNC_EMAIL_CLAIM" placeholder:"NAME" preset:"email" help:"Access token claim with the e-mail address; the claim NAME_verified says whether it is verified."`
	OTLPEndpoint       string `name:"otlp-endpoint" from:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL" help:"Where traces go, by OTLP over HTTP, such as http://127.0.0.1:4318; none are made without it. OTEL_EXPORTER_OTLP_HEADERS and OTEL_TRACES_SAMPLER are read too."`
	LogKey             string `kong:"-" name:"log-key" from:"CUSTOMERSYNC_LOG_KEY" secret:"" help:"Random text of 16 characters or more, the same for all replicas: requests that name an e-mail address are logged with a hash of it under this key. Without it addresses leave no trace in the log."`
	LogLevel           string `name:"log-level" from:"CUSTOMERSYNC_LOG_LEVEL" placeholder:"LEVEL" preset:"info" help:"debug, info, warn or error."`
}

// setting is one field of settings, with where its value came from.
type setting struct {
	key    string // in the file
	env    string
	help   string
	preset string
	secret bool
	value  string
	source string // for messages: "the environment", …
}

// flag is the setting's flag, "" for secrets.
func (s setting) flag() string {
	if s.secret {
		return ""
	}
	return "--" + strings.ReplaceAll(s.key, "_", "-")
}

// load settles every setting: flag, else environment, else file, else preset.
// All faults are returned at once, joined.
func (s settings) load(getenv func(string) string) (map[string]setting, error) {
	file, errs := readFile(cmp.Or(s.ConfigFile, getenv("CUSTOMERSYNC_CONFIG")))
	loaded := map[string]setting{}
	for _, one := range s.list() {
		env, err := fromEnv(one, getenv)
		if err != nil {
			errs = append(errs, err)
		}
		for _, candidate := range []struct{ value, source string }{
			{one.value, "the flag " + one.flag()},
			{env, "the environment"},
			{file[one.key], "the configuration file"},
			{one.preset, "its default"},
		} {
			if candidate.value != "" {
				one.value, one.source = candidate.value, candidate.source
				break
			}
		}
		delete(file, one.key)
		loaded[one.key] = one
	}
	for _, key := range slices.Sorted(maps.Keys(file)) {
		errs = append(errs, fmt.Errorf("  %s: in the configuration file: no such setting (customersync config lists them)", key))
	}
	return loaded, errors.Join(errs...)
}

// list returns every setting, with its value where a flag gave one.
func (s settings) list() []setting {
	var all []setting
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		_, secret := tag.Lookup("secret")
		one := setting{
			key:    strings.ReplaceAll(tag.Get("name"), "-", "_"),
			env:    tag.Get("from"),
			help:   tag.Get("help"),
			preset: tag.Get("preset"),
			secret: secret,
			value:  v.Field(i).String(),
		}
		all = append(all, one)
	}
	return all
}

// fromEnv reads a setting's variable or, for a secret, the file that its _FILE
// variable names.
func fromEnv(s setting, getenv func(string) string) (string, error) {
	value, path := getenv(s.env), ""
	if s.secret {
		path = getenv(s.env + "_FILE")
	}
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("  %s: %s and %s_FILE are both in the environment: expected one of them", s.key, s.env, s.env)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("  %s: %s_FILE in the environment: expected a readable file: %w", s.key, s.env, err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// readFile reads the configuration file: a flat map of settings. Lists may be
// YAML lists.
func readFile(path string) (map[string]string, []error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, []error{fmt.Errorf("  config: expected a readable YAML file: %w", err)}
	}
	var raw map[string]yaml.Node
	if err := yaml.Unmarshal(content, &raw); err != nil {
		return nil, []error{fmt.Errorf("  config: %s: expected a YAML map of settings: %w", path, err)}
	}
	values, errs := map[string]string{}, []error(nil)
	for key, node := range raw {
		var list []string
		switch {
		case node.Kind == yaml.ScalarNode:
			values[key] = node.Value
		case node.Kind == yaml.SequenceNode && node.Decode(&list) == nil:
			values[key] = strings.Join(list, ",")
		default:
			errs = append(errs, fmt.Errorf("  %s: in the configuration file: expected a text or a list of texts", key))
		}
	}
	return values, errs
}

// markdown is the table of deploy/docs/configuration.md.
func (s settings) markdown() string {
	var b strings.Builder
	b.WriteString("| environment | flag | default | what |\n|---|---|---|---|\n")
	for _, one := range s.list() {
		help := one.help
		if one.secret {
			help += " Also as `" + one.env + "_FILE`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", one.env, code(one.flag()), code(one.preset), help)
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
