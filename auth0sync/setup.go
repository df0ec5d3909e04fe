package auth0sync

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Setup is what customersync needs in a tenant so that deliveries come.
type Setup struct {
	URL     string      // of our webhook
	Actions []ActionFor // to be deployed and bound
	Secret  string      // that they sign with
	Stream  bool        // an Event Stream too
	Token   string      // its bearer token
	// NewSecret and NewToken say that they were made just now, and nobody knows them
	// yet: what is there already keeps its own, and is skipped.
	NewSecret, NewToken bool
	Dry                 bool       // only say what would be done
	Tell                func(Step) // called with each step
}

// ActionFor is one of our Actions.
type ActionFor struct{ Trigger, Version, Name, Code string }

// Step is what was done about one thing, or would be.
type Step struct {
	What string // "Action customersync post-login"
	Did  string // "created", "updated", "deployed", "bound", "unchanged", "skipped"
	Why  string // what was missing or different, or why it was skipped
}

// SetUp brings a tenant to what s says, and leaves what is so already. It may be
// stopped at any point and done again. Nothing of others is changed: Actions that
// are bound to the same triggers stay where they are. A step that the plan or a
// missing scope does not allow is skipped, and makes ErrForbidden the result.
//
// Auth0 does not show secrets again. So that a second time changes nothing, our
// Actions and our stream carry a fingerprint of theirs.
// https://auth0.com/docs/api/management/v2/actions/post-action
func (d *Directory) SetUp(ctx context.Context, s Setup) error {
	var skipped error
	steps := make([]func() error, 0, len(s.Actions)+1)
	for _, a := range s.Actions {
		steps = append(steps, func() error { return d.setUpAction(ctx, s, a) })
	}
	if s.Stream {
		steps = append(steps, func() error { return d.setUpStream(ctx, s) })
	}
	for _, step := range steps {
		if err := step(); errors.Is(err, ErrForbidden) || errors.Is(err, errConflict) {
			skipped = ErrForbidden
		} else if err != nil {
			return err
		}
	}
	return skipped
}

// did tells of a step that was done, or would be.
func (s Setup) did(what, did, why string) {
	if s.Dry && did != "unchanged" && did != "skipped" {
		did = "to be " + did
	}
	s.Tell(Step{what, did, why})
}

// skip tells of a step that is not allowed.
func (s Setup) skip(what string, err error) error {
	if errors.Is(err, ErrForbidden) || errors.Is(err, errConflict) {
		s.did(what, "skipped", err.Error())
	}
	return fmt.Errorf("%s: %w", what, err)
}

// errOtherSecret keeps setup from replacing a secret that a daemon lives by.
var errOtherSecret = fmt.Errorf("%w: it is there, with a secret that is not configured here", errConflict)

// fingerprint tells whether a secret, which Auth0 does not show, is still this one.
func fingerprint(secret, url string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(url)) // a hash never fails
	return hex.EncodeToString(mac.Sum(nil))[:16]
}

// actionJSON is an Action as Auth0 shows it, as far as we compare.
type actionJSON struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Code     string `json:"code"`
	Status   string `json:"status"`
	Deployed bool   `json:"all_changes_deployed"`
}

func (d *Directory) setUpAction(ctx context.Context, s Setup, a ActionFor) error {
	what := "Action " + a.Name
	code := "// Set up by customersync; settings " + fingerprint(s.Secret, s.URL) + ".\n" + a.Code
	existing, err := d.findAction(ctx, a)
	if err != nil {
		return s.skip(what, needs(err, "read:actions"))
	}
	if existing != nil && s.NewSecret {
		return s.skip(what, errOtherSecret)
	}
	action, err := d.putAction(ctx, s, a, existing, code)
	if err != nil {
		return s.skip(what, needs(err, "create:actions and update:actions"))
	}
	if err := d.deployAction(ctx, s, what, action); err != nil {
		return s.skip(what, needs(err, "create:actions"))
	}
	if err := d.bindAction(ctx, s, a, action.ID); err != nil {
		return s.skip(what, needs(err, "update:actions"))
	}
	return nil
}

// needs names the scopes that a refusal asks for.
func needs(err error, scopes string) error {
	if errors.Is(err, ErrForbidden) {
		return fmt.Errorf("%w: %s", err, scopes)
	}
	return err
}

func (d *Directory) findAction(ctx context.Context, a ActionFor) (*actionJSON, error) {
	var found struct {
		Actions []actionJSON `json:"actions"`
	}
	_, err := d.get(ctx, []string{"actions", "actions"}, url.Values{"actionName": {a.Name}, "triggerId": {a.Trigger}}, &found)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(found.Actions, func(one actionJSON) bool { return one.Name == a.Name }); i >= 0 {
		return &found.Actions[i], nil
	}
	return nil, nil
}

// putAction makes the Action, or changes it where it differs.
func (d *Directory) putAction(ctx context.Context, s Setup, a ActionFor, existing *actionJSON, code string) (actionJSON, error) {
	what := "Action " + a.Name
	body := map[string]any{
		"code": code, "runtime": "node22",
		"secrets": []map[string]string{{"name": "SYNC_URL", "value": s.URL}, {"name": "SYNC_SECRET", "value": s.Secret}},
	}
	var answer actionJSON
	var err error
	switch {
	case existing == nil:
		body["name"], body["supported_triggers"] = a.Name, []map[string]string{{"id": a.Trigger, "version": a.Version}}
		if !s.Dry {
			_, err = d.call(ctx, http.MethodPost, []string{"actions", "actions"}, nil, body, &answer)
		}
		if err == nil {
			s.did(what, "created", "it was not there")
		}
	case existing.Code != code:
		answer.ID = existing.ID
		if !s.Dry {
			_, err = d.call(ctx, http.MethodPatch, []string{"actions", "actions", existing.ID}, nil, body, &answer)
		}
		if err == nil {
			s.did(what, "updated", "its code, its URL or its secret was another")
		}
	default:
		answer = *existing
		s.did(what, "unchanged", "")
	}
	return answer, err
}

// buildsWithin is how long Auth0 may take to build an Action.
const buildsWithin = 30 * time.Second

// deployAction deploys what is not, once Auth0 has built it.
func (d *Directory) deployAction(ctx context.Context, s Setup, what string, a actionJSON) error {
	if a.Deployed {
		return nil
	}
	for waited := time.Duration(0); !s.Dry && a.Status != "built"; waited += time.Second {
		if a.Status == "failed" || waited > buildsWithin {
			return fmt.Errorf("%w: the Action is %q, not built", ErrUnavailable, a.Status)
		}
		if err := d.wait(ctx, time.Second); err != nil {
			return err
		}
		if _, err := d.get(ctx, []string{"actions", "actions", a.ID}, nil, &a); err != nil {
			return err
		}
	}
	if !s.Dry {
		var deployed struct{}
		if _, err := d.call(ctx, http.MethodPost, []string{"actions", "actions", a.ID, "deploy"}, nil, nil, &deployed); err != nil {
			return err
		}
	}
	s.did(what, "deployed", "what runs was not what is in the library")
	return nil
}

type bindingJSON struct {
	Name   string     `json:"display_name"`
	Action actionJSON `json:"action"`
}

// bindAction puts the Action behind those that are bound to its trigger. Auth0
// takes the whole flow at once.
func (d *Directory) bindAction(ctx context.Context, s Setup, a ActionFor, id string) error {
	what := "Binding to " + a.Trigger
	path := []string{"actions", "triggers", a.Trigger, "bindings"}
	bound, err := d.bindings(ctx, path)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(bound, func(b bindingJSON) bool { return b.Action.ID == id && id != "" }) {
		s.did(what, "unchanged", "")
		return nil
	}
	flow := []map[string]any{}
	for _, b := range bound {
		flow = append(flow, map[string]any{"ref": map[string]string{"type": "action_id", "value": b.Action.ID}, "display_name": b.Name})
	}
	flow = append(flow, map[string]any{"ref": map[string]string{"type": "action_id", "value": id}, "display_name": a.Name})
	if !s.Dry {
		var answer struct{}
		if _, err := d.call(ctx, http.MethodPatch, path, nil, map[string]any{"bindings": flow}, &answer); err != nil {
			return err
		}
	}
	s.did(what, "bound", fmt.Sprintf("behind the %d that are there", len(bound)))
	return nil
}

// bindings are all of a flow: one that is left out would be taken out of it.
func (d *Directory) bindings(ctx context.Context, path []string) ([]bindingJSON, error) {
	var all []bindingJSON
	for page := 0; ; page++ {
		var some struct {
			Bindings []bindingJSON `json:"bindings"`
			Total    *int          `json:"total"`
		}
		_, err := d.get(ctx, path, url.Values{"page": {strconv.Itoa(page)}, "per_page": {"50"}}, &some)
		if err != nil {
			return nil, err
		}
		all = append(all, some.Bindings...)
		switch {
		case some.Total == nil:
			return nil, fmt.Errorf("%w: a flow without its total", ErrUnavailable)
		case len(all) >= *some.Total:
			return all, nil
		case len(some.Bindings) == 0:
			return nil, fmt.Errorf("%w: %d of %d bindings came", ErrUnavailable, len(all), *some.Total)
		}
	}
}

// nameOfStream is what setup names an Event Stream: by what it was made with.
func nameOfStream(token, webhook string) string { return "customersync " + fingerprint(token, webhook) }

// userEvents are what our Event Stream, or the feed, tells us of.
func userEvents() []string { return []string{"user.created", "user.updated", "user.deleted"} }

type streamJSON struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Status        string `json:"status"`
	Subscriptions []struct {
		Type string `json:"event_type"`
	} `json:"subscriptions"`
	Destination struct {
		Configuration struct {
			Endpoint string `json:"webhook_endpoint"`
		} `json:"configuration"`
	} `json:"destination"`
}

// setUpStream makes our Event Stream, or changes it where it differs.
// https://auth0.com/docs/customize/events/create-an-event-stream
func (d *Directory) setUpStream(ctx context.Context, s Setup) error {
	const what = "Event Stream"
	existing, err := d.ourStream(ctx, s.URL, []string{s.Token})
	if err != nil {
		return s.skip(what, needs(err, "read:event_streams"))
	}
	if existing != nil && s.NewToken {
		return s.skip(what, errOtherSecret)
	}
	name := nameOfStream(s.Token, s.URL)
	subscriptions := []map[string]string{}
	for _, kind := range userEvents() {
		subscriptions = append(subscriptions, map[string]string{"event_type": kind})
	}
	body := map[string]any{
		"name": name, "status": "enabled", "subscriptions": subscriptions,
		"destination": map[string]any{"type": "webhook", "configuration": map[string]any{
			"webhook_endpoint": s.URL, "webhook_authorization": map[string]string{"method": "bearer", "token": s.Token},
		}},
	}
	method, path, did, why := http.MethodPost, []string{"event-streams"}, "created", "it was not there"
	if existing != nil {
		if why = existing.differs(name); why == "" {
			s.did(what, "unchanged", "")
			return nil
		}
		method, path, did = http.MethodPatch, append(path, existing.ID), "updated"
	}
	if !s.Dry {
		var answer struct{}
		if _, err := d.call(ctx, method, path, nil, body, &answer); err != nil {
			return s.skip(what, needs(err, "create:event_streams and update:event_streams"))
		}
	}
	s.did(what, did, why)
	return nil
}

func (s streamJSON) differs(name string) string {
	subscribed := func(kind string) bool {
		return slices.ContainsFunc(s.Subscriptions, func(one struct {
			Type string `json:"event_type"`
		},
		) bool {
			return one.Type == kind
		})
	}
	switch {
	case s.Name != name:
		return "its URL or its token was another"
	case s.Status != "enabled":
		return "it was " + s.Status
	case slices.ContainsFunc(userEvents(), func(kind string) bool { return !subscribed(kind) }):
		return "it did not tell of all that matters"
	}
	return ""
}

// madeWith reports whether setup made the stream with one of the tokens, for
// whatever webhook: its name says so.
func (s streamJSON) madeWith(tokens []string) bool {
	endpoint := s.Destination.Configuration.Endpoint
	return endpoint != "" && slices.ContainsFunc(tokens, func(token string) bool { return s.Name == nameOfStream(token, endpoint) })
}

// ourStream is the Event Stream that goes to our webhook, else one that we made
// with one of the tokens; nil if there is none. Those of others, be it another
// installation of customersync in the tenant, are not ours, whatever their name.
func (d *Directory) ourStream(ctx context.Context, webhook string, tokens []string) (*streamJSON, error) {
	query, made := url.Values{"take": {"100"}}, (*streamJSON)(nil)
	for {
		var page struct {
			Streams []streamJSON `json:"eventStreams"`
			Next    string       `json:"next"`
		}
		if _, err := d.get(ctx, []string{"event-streams"}, query, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Streams {
			switch {
			case webhook != "" && s.Destination.Configuration.Endpoint == webhook:
				return &s, nil
			case made == nil && s.madeWith(tokens):
				made = &s
			}
		}
		if page.Next == "" {
			return made, nil
		}
		query.Set("from", page.Next)
	}
}
