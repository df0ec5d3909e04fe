package ops_test

import (
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ahiko-io/customersync/customer"
)

func TestAnAddressIsRevealedOnceAndNoted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	core, log := observer.New(zapcore.DebugLevel)
	d.config.Logger = zap.New(core)
	id, closed := d.made("Ada", "ada.secret@example.com"), d.made("Zoe", "zoe.secret@example.com")
	must(t, d.store.CloseCustomer(t.Context(), closed, 0, customer.Cause{Kind: customer.ByAPI, Actor: "test"}))
	for id, address := range map[customer.ID]string{id: "ada.secret@example.com", closed: "zoe.secret@example.com"} {
		path := "/ops/customers/" + string(id)
		before := d.explain(id)
		w := d.ask("POST", path+"/reveal", url.Values{"who": {"Sam of support"}, "why": {"they called us"}}.Encode())
		if w.Code != 200 || !strings.Contains(w.Body.String(), "<bdi>"+address+"</bdi>") || strings.Count(w.Body.String(), "secret") != 1 || strings.Contains(w.Body.String(), path+"/reveal") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		after := d.explain(id)
		last := after.History[len(after.History)-1]
		if len(after.History) != len(before.History)+1 || last.What != "revealed" || last.Cause.Actor != "Sam of support" || last.Cause.Why != "they called us" || last.Cause.Kind != customer.ByOperator {
			t.Errorf("history %+v", after.History)
		}
		if after.Version != before.Version || !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Errorf("the customer changed: %+v", after.Customer)
		}
		again := d.ask("GET", path, "").Body.String()
		if strings.Contains(again, "secret") || !strings.Contains(again, "<strong>revealed</strong>") || !strings.Contains(again, "they called us") || !strings.Contains(again, path+"/reveal") {
			t.Errorf("afterwards: %s", again)
		}
	}
	for _, entry := range log.All() {
		t.Errorf("logged: %s %v", entry.Message, entry.ContextMap())
	}
}

func TestAnAddressIsNotRevealedWithoutWhoAndWhy(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	_, _, err := d.store.Create(t.Context(), customer.Draft{ID: "018f0000-0000-7000-8000-000000000001", FirstName: "No", LastName: "Mail"}, nil, customer.Cause{Kind: customer.ByAPI, Actor: "test"})
	must(t, err)
	for name, test := range map[string]struct {
		id     customer.ID
		form   string
		header []string
		status int
	}{
		"without a name":         {id, "why=x", nil, 422},
		"without a reason":       {id, "who=Sam", nil, 422},
		"with an empty reason":   {id, "who=Sam&why=+", nil, 422},
		"of nobody":              {"018f0000-0000-7000-8000-000000000000", "who=Sam&why=x", nil, 404},
		"of no id":               {"x", "who=Sam&why=x", nil, 404},
		"of one without address": {"018f0000-0000-7000-8000-000000000001", "who=Sam&why=x", nil, 422},
		"by another site":        {id, "who=Sam&why=x", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if w := d.ask("POST", "/ops/customers/"+string(test.id)+"/reveal", test.form, test.header...); w.Code != test.status || strings.Contains(w.Body.String(), "ada@") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := d.ask("GET", "/ops/customers/"+string(id)+"/reveal?who=Sam&why=x", ""); w.Code != 404 || strings.Contains(w.Body.String(), "ada@") {
		t.Errorf("by a link: %d %s", w.Code, w.Body)
	}
	if e := d.explain(id); len(e.History) != 1 {
		t.Errorf("noted: %+v", e.History)
	}
}
