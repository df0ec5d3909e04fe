package api_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

const eventFeed = "/customer/v1/events"

// page is an answer of the feed.
type page struct {
	Data []struct {
		ID       string `json:"event_id"`
		Type     string
		Customer string `json:"customer_id"`
		Version  int
		Field    *string
	}
	After string
	More  bool
}

func (s *service) events(after string, limit string) page {
	s.t.Helper()
	a := s.do("GET", eventFeed+"?limit="+limit+after, s.machine("read:customers"), "")
	var p page
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 200 {
		s.t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	return p
}

func TestTheFeedTellsWhatHappenedAndWhereToGoOn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	empty := s.events("", "10")
	if len(empty.Data) != 0 || empty.More || empty.After == "" {
		t.Fatalf("an empty feed: %+v", empty)
	}
	id := s.create("ada@example.com")
	s.do("PATCH", customers+"/"+id, s.machine(), `{"first_name":"Augusta"}`).want(t, 200, "")
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 200, "")
	first := s.events("&after="+empty.After, "2")
	if len(first.Data) != 2 || !first.More || first.Data[0].Type != "customer.created" || first.Data[1].Type != "customer.updated" {
		t.Fatalf("the first page: %+v", first)
	}
	if e := first.Data[1]; e.Customer != id || e.Version != 2 || e.Field == nil || *e.Field != "first_name" || e.ID == first.Data[0].ID {
		t.Errorf("got %+v", e)
	}
	second := s.events("&after="+url.QueryEscape(first.After), "2")
	if len(second.Data) != 1 || second.More || second.Data[0].Type != "customer.closed" {
		t.Errorf("the second page: %+v", second)
	}
	if last := s.events("&after="+second.After, "2"); len(last.Data) != 0 || last.After != second.After {
		t.Errorf("at the end: %+v", last)
	}
	if body := s.do("GET", eventFeed, s.machine(), "").body; strings.Contains(body, "ada") || strings.Contains(body, "Augusta") {
		t.Errorf("personal data in %s", body)
	}
}

func TestTheFeedIsForThoseWhoMayReadAll(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, token := s.person("ada@example.com", true)
	s.do("GET", eventFeed, token, "").want(t, 403, "forbidden")
	s.do("GET", eventFeed, s.machine("update:customers"), "").want(t, 403, "forbidden")
	for _, query := range []string{"?after=x", "?after=MTIz", "?limit=0", "?limit=1001", "?since=1", "?after=" + "ZS0x"} {
		s.do("GET", eventFeed+query, s.machine(), "").want(t, 400, "invalid_query")
	}
	s.do("GET", eventFeed+"?after=ZTk5", s.machine(), "").want(t, 410, "feed_ahead")
}
