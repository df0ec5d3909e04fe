package auth0sim

import (
	"slices"
	"strings"
)

// destination is where an Event Stream goes.
type destination struct {
	Type          string         `json:"type"`
	Configuration map[string]any `json:"configuration"`
}

const webhook = "webhook"

func (d destination) endpoint() string {
	url, _ := d.Configuration["webhook_endpoint"].(string)
	return url
}

// wrong says what Auth0 would not take; "" for nothing.
func (d destination) wrong(allowHTTP bool) string {
	auth, _ := d.Configuration["webhook_authorization"].(map[string]any)
	method, _ := auth["method"].(string)
	needed, known := map[string][]string{
		"bearer": {"token"}, "basic": {"username", "password"}, "custom_header": {"header_key", "header_value"},
	}[method]
	missing := func(name string) bool { s, _ := auth[name].(string); return s == "" }
	switch {
	case d.Type != webhook && slices.Contains([]string{"eventbridge", "action"}, d.Type):
		return ""
	case d.Type != webhook:
		return "No enum match for: " + d.Type + "' on property destination.type"
	case !strings.HasPrefix(d.endpoint(), "https://") && (!allowHTTP || !strings.HasPrefix(d.endpoint(), "http://")):
		return "String does not match pattern ^https://.*$: ' on property destination.configuration.webhook_endpoint"
	case !known:
		return "No enum match for: " + method + "' on property destination.configuration.webhook_authorization.method"
	case slices.ContainsFunc(needed, missing):
		return "Missing required property' on property destination.configuration.webhook_authorization"
	}
	return ""
}

// shown is the destination without its secrets, which can only be written.
func (d destination) shown() map[string]any {
	configuration := map[string]any{}
	for name, value := range d.Configuration {
		configuration[name] = value
	}
	if auth, ok := d.Configuration["webhook_authorization"].(map[string]any); ok {
		open := map[string]any{}
		for _, name := range []string{"method", "username", "header_key"} {
			if value, ok := auth[name]; ok {
				open[name] = value
			}
		}
		configuration["webhook_authorization"] = open
	}
	return map[string]any{"type": d.Type, "configuration": configuration}
}
