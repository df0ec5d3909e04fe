package auth0sim

import (
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// actionBinding is an Action in the flow of a trigger.
type actionBinding struct {
	id      string
	name    string
	action  *storedAction
	made    time.Time
	trigger string
}

type bindingBody struct {
	Ref struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"ref"`
	Name string `json:"display_name"`
}

// shownBinding is the binding as Auth0 shows it. t.mu is held.
func (t *Tenant) shownBinding(b *actionBinding) map[string]any {
	action := t.shown(b.action)
	for _, name := range []string{"code", "dependencies", "runtime", "secrets", "status"} {
		delete(action, name) // the versions have them
	}
	return map[string]any{
		"id": b.id, "trigger_id": b.trigger, "display_name": b.name, "action": action, "created_at": stamp(b.made), "updated_at": stamp(b.made),
	}
}

// onTrigger answers 404 for a trigger that is not there.
func onTrigger(do func(*Tenant, string, http.ResponseWriter, *http.Request)) func(*Tenant, http.ResponseWriter, *http.Request) {
	return func(t *Tenant, w http.ResponseWriter, r *http.Request) {
		trigger := r.PathValue("trigger")
		if trigger != postLogin && trigger != postRegistration {
			apiError(w, http.StatusNotFound, "Not Found", "That trigger could not be found.", "")
			return
		}
		do(t, trigger, w, r)
	}
}

func (t *Tenant) serveBindings(trigger string, w http.ResponseWriter, r *http.Request) {
	page, ok := pageOf(w, r.URL.Query())
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	writeJSON(w, http.StatusOK, paged("bindings", t.shownBindings(trigger), page))
}

func (t *Tenant) shownBindings(trigger string) []map[string]any {
	shown := []map[string]any{}
	for _, b := range t.bindings[trigger] {
		shown = append(shown, t.shownBinding(b))
	}
	return shown
}

// serveBind replaces the whole flow of a trigger. Only what is deployed can be in
// it.
func (t *Tenant) serveBind(trigger string, w http.ResponseWriter, r *http.Request) {
	var body struct {
		Bindings []bindingBody `json:"bindings"`
	}
	if !readBody(w, r, &body) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	bindings := []*actionBinding{}
	for _, one := range body.Bindings {
		a := t.actionBy(one.Ref.Type, one.Ref.Value)
		switch {
		case a == nil:
			badRequest(w, "The action of a binding could not be found.", "")
			return
		case a.deployed == nil:
			badRequest(w, "The action of a binding must be deployed.", "")
			return
		case !slices.ContainsFunc(a.draft.Triggers, func(has actionTrigger) bool { return has.ID == trigger }):
			badRequest(w, "The action of a binding does not support the trigger.", "")
			return
		}
		bindings = append(bindings, t.bind(trigger, a, one.Name))
	}
	t.bindings[trigger] = bindings
	writeJSON(w, http.StatusOK, map[string]any{"bindings": t.shownBindings(trigger)})
}

// bind keeps the binding of an Action that was in the flow before.
func (t *Tenant) bind(trigger string, a *storedAction, name string) *actionBinding {
	if i := slices.IndexFunc(t.bindings[trigger], func(b *actionBinding) bool { return b.action == a }); i >= 0 {
		return t.bindings[trigger][i]
	}
	if name == "" {
		name = a.draft.Name
	}
	return &actionBinding{id: uuid.NewString(), name: name, action: a, made: t.now(), trigger: trigger}
}

func (t *Tenant) actionBy(kind, value string) *storedAction {
	for _, a := range t.library {
		if kind == "action_id" && a.id == value || kind == "action_name" && a.draft.Name == value {
			return a
		}
	}
	return nil
}

// targets are where the Actions of a trigger report to: the one that ConnectAction
// put there, and those that are deployed and bound. t.mu is held.
func (t *Tenant) targets(trigger string) []endpoint {
	var all []endpoint
	if t.action != nil && (trigger == postRegistration || t.postLogin) {
		all = append(all, *t.action)
	}
	for _, b := range t.bindings[trigger] {
		if d := b.action.deployed.draft; d.ships(trigger) && d.secret("SYNC_URL") != "" {
			all = append(all, endpoint{d.secret("SYNC_URL"), d.secret("SYNC_SECRET")})
		}
	}
	return all
}
