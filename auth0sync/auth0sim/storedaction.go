package auth0sim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// storedAction is an Action of the library: a draft, and what was deployed of it.
// Its code is not run. If it is that of the Actions in deploy/auth0, what they
// would do is done.
type storedAction struct {
	id       string
	draft    actionDraft
	made     time.Time
	changed  time.Time // of the draft, whose building begins then
	deployed *actionVersion
}

type actionDraft struct {
	Name         string           `json:"name"`
	Triggers     []actionTrigger  `json:"supported_triggers"`
	Code         string           `json:"code"`
	Dependencies []map[string]any `json:"dependencies"`
	Runtime      string           `json:"runtime"`
	Secrets      []actionSecret   `json:"secrets"`
}

type actionTrigger struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

type actionSecret struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
	at    time.Time
}

// actionVersion is a draft as it was deployed.
type actionVersion struct {
	id     string
	number int
	draft  actionDraft
	made   time.Time
}

// knownTriggers are the triggers that the tenant has, of those at Auth0.
func knownTriggers() []map[string]any {
	all := []map[string]any{}
	for _, one := range []actionTrigger{{postLogin, "v3"}, {postRegistration, "v2"}} {
		all = append(all, map[string]any{
			"id": one.ID, "version": one.Version, "status": "CURRENT", "runtimes": runtimes(), "default_runtime": "node22", "compatible_triggers": []any{},
		})
	}
	return all
}

func runtimes() []string { return []string{"node18", "node22"} }

func (one actionTrigger) known() bool {
	return slices.ContainsFunc(knownTriggers(), func(k map[string]any) bool { return k["id"] == one.ID && k["version"] == one.Version })
}

// Limits of Actions.
// https://auth0.com/docs/customize/actions/limitations
const (
	longestCode   = 100_000
	longestSecret = 4096
)

func (d actionDraft) wrong() string {
	unknown := slices.IndexFunc(d.Triggers, func(one actionTrigger) bool { return !one.known() })
	secret := slices.IndexFunc(d.Secrets, func(s actionSecret) bool { return s.Name == "" || s.Value == nil || len(*s.Value) > longestSecret })
	switch {
	case d.Name == "" || len(d.Triggers) == 0:
		return "Missing required property: name, supported_triggers"
	case unknown >= 0:
		return "Unknown trigger: " + d.Triggers[unknown].ID + " " + d.Triggers[unknown].Version
	case !slices.Contains(runtimes(), d.Runtime):
		return "No enum match for: " + d.Runtime + "' on property runtime"
	case len(d.Code) > longestCode:
		return "The code is too long"
	case secret >= 0:
		return "Invalid secret: " + d.Secrets[secret].Name
	}
	return ""
}

// with is a draft changed by another; secrets are replaced all together, and one
// without a value keeps its old one.
func (d actionDraft) with(members map[string]bool, b actionDraft, at time.Time) actionDraft {
	for name, change := range map[string]func(){
		"name": func() { d.Name = b.Name }, "supported_triggers": func() { d.Triggers = b.Triggers }, "code": func() { d.Code = b.Code },
		"dependencies": func() { d.Dependencies = b.Dependencies }, "runtime": func() { d.Runtime = b.Runtime },
		"secrets": func() { d.Secrets = replaced(d.Secrets, b.Secrets, at) },
	} {
		if members[name] {
			change()
		}
	}
	return d
}

func replaced(old, by []actionSecret, at time.Time) []actionSecret {
	secrets := []actionSecret{}
	for _, s := range by {
		s.at = at
		if i := slices.IndexFunc(old, func(o actionSecret) bool { return o.Name == s.Name }); s.Value == nil && i >= 0 {
			s = old[i]
		}
		secrets = append(secrets, s)
	}
	return secrets
}

func (d actionDraft) secret(name string) string {
	for _, s := range d.Secrets {
		if s.Name == name {
			return *s.Value
		}
	}
	return ""
}

// ships says whether the code is what deploy/auth0 has for a trigger.
func (d actionDraft) ships(trigger string) bool {
	handler := map[string]string{postRegistration: "exports.onExecutePostUserRegistration", postLogin: "exports.onExecutePostLogin"}[trigger]
	return handler != "" && strings.Contains(d.Code, handler) && strings.Contains(d.Code, "SYNC_URL") && strings.Contains(d.Code, "SYNC_SECRET")
}

// members are what drafts and versions have in common. Values of secrets are never
// shown.
func (d actionDraft) members() map[string]any {
	triggers, secrets := []map[string]any{}, []map[string]any{}
	for _, one := range d.Triggers {
		triggers = append(triggers, map[string]any{"id": one.ID, "version": one.Version})
	}
	for _, s := range d.Secrets {
		secrets = append(secrets, map[string]any{"name": s.Name, "updated_at": stamp(s.at)})
	}
	dependencies := d.Dependencies
	if dependencies == nil {
		dependencies = []map[string]any{}
	}
	return map[string]any{
		"code": d.Code, "dependencies": dependencies, "runtime": d.Runtime, "secrets": secrets, "supported_triggers": triggers,
	}
}

// status is how far the building of the draft is. t.mu is held.
func (t *Tenant) status(a *storedAction) string {
	switch gone := t.now().Sub(a.changed); {
	case gone >= t.o.ActionBuilds:
		return "built"
	case gone >= t.o.ActionBuilds/2:
		return "building"
	}
	return "pending"
}

// shown is the Action as Auth0 shows it. t.mu is held.
func (t *Tenant) shown(a *storedAction) map[string]any {
	shown := a.draft.members()
	maps.Copy(shown, a.head())
	shown["updated_at"], shown["status"] = stamp(a.changed), t.status(a)
	if v := a.deployed; v != nil {
		shown["current_version"] = map[string]any{
			"id": v.id, "code": v.draft.Code, "runtime": v.draft.Runtime, "status": "BUILT", "number": v.number,
			"build_time": stamp(v.made), "created_at": stamp(v.made), "updated_at": stamp(v.made),
		}
		shown["deployed_version"] = v.shown(true)
	}
	return shown
}

// head is what other objects show of an Action.
func (a *storedAction) head() map[string]any {
	return map[string]any{
		"id": a.id, "name": a.draft.Name, "supported_triggers": a.draft.members()["supported_triggers"],
		"created_at": stamp(a.made), "updated_at": stamp(a.made),
		"all_changes_deployed": a.deployed != nil && !a.changed.After(a.deployed.made),
	}
}

func (v *actionVersion) shown(deployed bool) map[string]any {
	shown := v.draft.members()
	maps.Copy(shown, map[string]any{
		"id": v.id, "number": v.number, "deployed": deployed, "status": "built", "created_at": stamp(v.made), "updated_at": stamp(v.made),
	})
	if deployed {
		shown["built_at"] = stamp(v.made)
	}
	return shown
}
