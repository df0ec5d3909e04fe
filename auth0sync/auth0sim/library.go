package auth0sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/uuid"
)

// readDraft decodes a body and the names of the members that it has, or answers
// 400.
func readDraft(w http.ResponseWriter, r *http.Request) (b actionDraft, members map[string]bool, deploy, ok bool) {
	var raw map[string]json.RawMessage
	if !readBody(w, r, &raw) {
		return b, nil, false, false
	}
	var also struct {
		Deploy bool `json:"deploy"`
	}
	text, _ := json.Marshal(raw) // it was read from JSON
	if json.Unmarshal(text, &b) != nil || json.Unmarshal(text, &also) != nil {
		badRequest(w, "Payload validation error: 'Invalid type'.", "invalid_body")
		return b, nil, false, false
	}
	members = map[string]bool{}
	for name := range raw {
		members[name] = true
	}
	return b, members, also.Deploy, true
}

// serveCreateAction adds an Action to the library; deploy makes its first version.
func (t *Tenant) serveCreateAction(w http.ResponseWriter, r *http.Request) {
	b, members, deploy, ok := readDraft(w, r)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &storedAction{id: uuid.NewString(), draft: actionDraft{Runtime: "node22"}, made: t.now(), changed: t.now()}
	a.draft = a.draft.with(members, b, t.now())
	if message := a.draft.wrong(); message != "" {
		badRequest(w, "Payload validation error: '"+message+"'.", "invalid_body")
		return
	}
	t.library = append(t.library, a)
	if deploy {
		t.deploy(a)
	}
	writeJSON(w, http.StatusCreated, t.shown(a))
}

// serveActions lists those with a name, or for a trigger.
func (t *Tenant) serveActions(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	page, ok := pageOf(w, values)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	found := []map[string]any{}
	for _, a := range t.library {
		if a.is(values) {
			found = append(found, t.shown(a))
		}
	}
	writeJSON(w, http.StatusOK, paged("actions", found, page))
}

func (a *storedAction) is(values url.Values) bool {
	trigger := func(one actionTrigger) bool { return one.ID == values.Get("triggerId") }
	return (!values.Has("actionName") || a.draft.Name == values.Get("actionName")) &&
		(!values.Has("triggerId") || slices.ContainsFunc(a.draft.Triggers, trigger))
}

// paged is a list as the Actions API answers it.
func paged(name string, all []map[string]any, p page) map[string]any {
	answer := map[string]any{name: all[p.from(len(all)):p.to(len(all))], "total": len(all), "per_page": p.size}
	if p.number > 0 {
		answer["page"] = p.number
	}
	return answer
}

// onAction finds the Action of a path, or answers 404. t.mu is held while do runs.
func onAction(do func(*Tenant, *storedAction, http.ResponseWriter, *http.Request)) func(*Tenant, http.ResponseWriter, *http.Request) {
	return func(t *Tenant, w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		at := slices.IndexFunc(t.library, func(a *storedAction) bool { return a.id == r.PathValue("id") })
		if at < 0 {
			apiError(w, http.StatusNotFound, "Not Found", "That action could not be found.", "")
			return
		}
		do(t, t.library[at], w, r)
	}
}

func (t *Tenant) serveAction(a *storedAction, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, t.shown(a))
}

// servePatchAction changes the draft, which is built anew. What is deployed stays.
func (t *Tenant) servePatchAction(a *storedAction, w http.ResponseWriter, r *http.Request) {
	b, members, _, ok := readDraft(w, r)
	if !ok {
		return
	}
	draft := a.draft.with(members, b, t.now())
	if message := draft.wrong(); message != "" {
		badRequest(w, "Payload validation error: '"+message+"'.", "invalid_body")
		return
	}
	a.draft, a.changed = draft, t.now()
	writeJSON(w, http.StatusOK, t.shown(a))
}

// serveDeleteAction deletes an Action that is bound to no trigger, or any by
// force.
func (t *Tenant) serveDeleteAction(a *storedAction, w http.ResponseWriter, r *http.Request) {
	bound := func(b *actionBinding) bool { return b.action == a }
	for trigger, bindings := range t.bindings {
		if !slices.ContainsFunc(bindings, bound) {
			continue
		}
		if r.URL.Query().Get("force") != "true" {
			apiError(w, http.StatusConflict, "Conflict", "The action is bound to a trigger.", "")
			return
		}
		t.bindings[trigger] = slices.DeleteFunc(bindings, bound)
	}
	t.library = slices.DeleteFunc(t.library, func(other *storedAction) bool { return other == a })
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
}

// deploy makes the draft what runs. t.mu is held.
func (t *Tenant) deploy(a *storedAction) {
	v := &actionVersion{id: uuid.NewString(), number: 1, draft: a.draft, made: t.now()}
	if a.deployed != nil {
		v.number = a.deployed.number + 1
	}
	a.deployed = v
}

// serveDeployAction deploys a draft that has been built.
func (t *Tenant) serveDeployAction(a *storedAction, w http.ResponseWriter, _ *http.Request) {
	if status := t.status(a); status != "built" {
		badRequest(w, "The action must be in the 'built' state, and is '"+status+"'.", "")
		return
	}
	t.deploy(a)
	shown := a.deployed.shown(false)
	maps.Copy(shown, map[string]any{"action": a.head()})
	writeJSON(w, http.StatusOK, shown)
}

func (t *Tenant) serveTriggers(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"triggers": knownTriggers()})
}
