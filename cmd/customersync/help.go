package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// settingsTitle heads the flags that all verbs have, behind those of the verb.
const settingsTitle = "Settings, each also in the environment or the file (customersync config lists them):"

// examples shows of each verb how it is called. They are held true by a test.
func examples() map[string]string {
	return map[string]string{
		"serve":             "customersync serve --listen :8080",
		"sync":              "customersync sync --once --dry-run\ncustomersync sync --once --email ada@example.com --json",
		"reconcile":         "customersync reconcile --plan plan.ndjson\ncustomersync reconcile --apply plan.ndjson",
		"explain":           "customersync explain ada@example.com",
		"setup auth0":       "customersync setup auth0 --url https://api.acme.example/webhooks/auth0 --dry-run",
		"check":             "customersync check --online --webhook-url https://api.acme.example/webhooks/auth0",
		"status":            "customersync status --json",
		"health":            "customersync health --live",
		"conflicts list":    "customersync conflicts list --json",
		"conflicts resolve": "customersync conflicts resolve 01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11 --link 'auth0|63a03d3a' --why 'They proved who they are.'",
		"customers export":  "customersync customers export --out customers.csv",
		"customers import":  "customersync customers import people.csv --dry-run",
		"events list":       "customersync events list --since 6h",
		"events targets":    "customersync events targets",
		"events dead":       "customersync events dead --target crm",
		"events replay":     "customersync events replay --since 2026-11-24T09:00:00Z --target crm",
		"keys create":       "customersync keys create shop",
		"keys list":         "customersync keys list --json",
		"keys revoke":       "customersync keys revoke key_wfSkD0Ei",
		"config list":       "customersync config list",
		"config print":      "customersync config print --json",
		"webhook send":      "customersync webhook send https://api.acme.example/webhooks/auth0",
		"metrics":           "customersync metrics --json",
		"demo":              "customersync demo --fast",
		"sim":               "customersync sim --sim-listen 127.0.0.1:4000 --plan free",
		"version":           "customersync version --json",
		"completion":        "customersync completion bash",
	}
}

// pathOf is how a verb is called: its name and those of the verbs above it.
func pathOf(node *kong.Node) string {
	var names []string
	for ; node != nil && node.Type != kong.ApplicationNode; node = node.Parent {
		names = append([]string{node.Name}, names...)
	}
	return strings.Join(names, " ")
}

// teach puts the examples into the help of the verbs.
func teach(k *kong.Kong) error {
	all := examples()
	return kong.Visit(k.Model, func(v kong.Visitable, next kong.Next) error {
		if node, ok := v.(*kong.Node); ok && all[pathOf(node)] != "" {
			node.Detail = "Such as:\n\n    " + strings.ReplaceAll(all[pathOf(node)], "\n", "\n    ")
		}
		return next(nil)
	})
}

// wrongUsage says where the help is that tells how a verb is called.
func wrongUsage(err error) error {
	verb := ""
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context.Selected() != nil {
		verb = pathOf(parse.Context.Selected()) + " "
	}
	return usageError{fmt.Errorf("%w (try customersync %s--help)", err, verb)}
}
