package auth0sim

import (
	"fmt"
	"net/http"
	"strings"
)

// Connections that the tenant has. Their kind says who verifies addresses and
// which triggers fire.
const (
	Database     = "Username-Password-Authentication"
	Passwordless = "email"
	SMS          = "sms"
	Google       = "google-oauth2"
	Apple        = "apple"
	Facebook     = "facebook"
	GitHub       = "github"
	Microsoft    = "windowslive"
	Enterprise   = "acme-saml"
)

// connection describes how users of a connection look.
// https://auth0.com/docs/manage-users/user-accounts/user-profiles/user-profile-structure
type connection struct {
	name     string
	id       string
	strategy string // the provider in user ids
	kind     string // strategy_type in the tenant's log
	social   bool
	verifies bool // the address is verified by signing in
	lowers   bool // Auth0's own store keeps addresses in lower case
	action   bool // post-user-registration fires: database and passwordless only
}

func connections() []connection {
	all := []connection{
		{name: Database, id: "con_simDatabase00001", strategy: "auth0", kind: "database", lowers: true, action: true},
		{name: Passwordless, id: "con_simPasswordless1", strategy: "email", kind: "passwordless", verifies: true, lowers: true, action: true},
		{name: SMS, id: "con_simPasswordless2", strategy: "sms", kind: "passwordless", action: true},
		{name: Enterprise, id: "con_simEnterprise001", strategy: "samlp", kind: "enterprise"},
	}
	for i, name := range []string{Google, Apple, Facebook, GitHub, Microsoft} {
		all = append(all, connection{
			name: name, id: fmt.Sprintf("con_simSocial%07d", i+1), strategy: name, kind: "social", social: true, verifies: true,
		})
	}
	return all
}

// connectionOf finds a connection by name; "" is the database.
func connectionOf(name string) (connection, error) {
	known := []string{}
	for _, c := range connections() {
		if c.name == name || name == "" && c.name == Database {
			return c, nil
		}
		known = append(known, c.name)
	}
	return connection{}, fmt.Errorf("%w: %q is none of %s", errNoConnection, name, strings.Join(known, ", "))
}

func (t *Tenant) serveConnections(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	found := []map[string]any{}
	for _, c := range connections() {
		if want := values.Get("name"); want == "" || want == c.name {
			found = append(found, map[string]any{
				"id": c.id, "name": c.name, "strategy": c.strategy, "options": map[string]any{},
				"is_domain_connection": false, "realms": []string{c.name}, "enabled_clients": []string{t.o.ClientID},
			})
		}
	}
	page, ok := pageOf(w, values)
	if !ok {
		return
	}
	total := len(found)
	found = found[page.from(total):page.to(total)]
	if values.Get("include_totals") == "true" {
		writeJSON(w, http.StatusOK, map[string]any{"total": total, "start": page.start(), "limit": page.size, "connections": found})
		return
	}
	writeJSON(w, http.StatusOK, found)
}
