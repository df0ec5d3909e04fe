package auth0sim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
)

// The simulator is as good as the SDK finds it.
func TestSDKDrivesTheTenant(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	m, ctx := c.sdk()
	connection, email, verified := Database, "ada@example.com", true
	u := &management.User{Connection: &connection, Email: &email, EmailVerified: &verified}
	c.must(m.User.Create(ctx, u))

	read, err := m.User.Read(ctx, u.GetID())
	if err != nil || read.GetEmail() != email || !read.GetEmailVerified() || *read.Identities[0].Provider != "auth0" || read.GetCreatedAt().IsZero() {
		t.Errorf("read: %v %v", read, err)
	}
	same, err := m.User.ListByEmail(ctx, email)
	if err != nil || len(same) != 1 || same[0].GetID() != u.GetID() {
		t.Errorf("by e-mail: %v %v", same, err)
	}
	list, err := m.User.List(ctx, management.Query(`email:("ADA@example.com" OR "b@example.com")`), management.PerPage(100))
	if err != nil || len(list.Users) != 1 || list.Total != 1 {
		t.Errorf("list: %v %v", list, err)
	}
	blocked := true
	c.must(m.User.Update(ctx, u.GetID(), &management.User{Blocked: &blocked}))
	if read, err := m.User.Read(ctx, u.GetID()); err != nil || !read.GetBlocked() {
		t.Errorf("blocked: %v %v", read, err)
	}
	second := c.signUp(SignUp{Email: "ada@example.com", Connection: Google})
	provider := "google-oauth2"
	linked, err := m.User.Link(ctx, u.GetID(), &management.UserIdentityLink{Provider: &provider, UserID: &second.ID})
	if err != nil || len(linked) != 2 {
		t.Errorf("link: %v %v", linked, err)
	}
	if alone, err := m.User.Unlink(ctx, u.GetID(), provider, second.Identities[0].UserID); err != nil || len(alone) != 1 {
		t.Errorf("unlink: %v %v", alone, err)
	}
	logs, err := m.Log.List(ctx, management.Take(1))
	if err != nil || len(logs) != 1 || logs[0].GetType() != "ss" {
		t.Errorf("logs: %v %v", logs, err)
	}
	if connections, err := m.Connection.List(ctx); err != nil || len(connections.Connections) < 5 {
		t.Errorf("connections: %v %v", connections, err)
	}
	c.must(m.User.Delete(ctx, u.GetID()))
	_, err = m.User.Read(ctx, u.GetID())
	checkStatus(t, err, http.StatusNotFound)
}

// sdk is go-auth0 for a tenant.
func (c client) sdk() (*management.Management, context.Context) {
	c.t.Helper()
	ctx := context.WithValue(c.t.Context(), oauth2.HTTPClient, &http.Client{})
	m, err := management.New(c.url, management.WithInsecure(), management.WithNoRetries(), management.WithClientCredentials(ctx, "sim-client", "sim-secret"))
	c.must(err)
	return m, ctx
}

func TestSDKUnderstandsErrors(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Scopes: []string{"read:users"}, Plan: PlanFree})
	m, ctx := c.sdk()
	_, err := m.Log.List(ctx)
	checkStatus(t, err, http.StatusForbidden)
	_, err = m.User.List(ctx, management.Query("("))
	checkStatus(t, err, http.StatusBadRequest)
	_, err = m.User.List(ctx)
	checkStatus(t, err, http.StatusTooManyRequests)
	wrong, err := management.New(c.url, management.WithInsecure(), management.WithNoRetries(), management.WithClientCredentials(ctx, "sim-client", "x"))
	c.must(err)
	_, err = wrong.User.List(ctx)
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != "access_denied" {
		t.Errorf("a wrong secret: %v", err)
	}
}

func checkStatus(t *testing.T, err error, status int) {
	t.Helper()
	var e management.Error
	if !errors.As(err, &e) || e.Status() != status {
		t.Errorf("want %d: %s", status, fmt.Sprint(err))
	}
}
