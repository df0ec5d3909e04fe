package auth0sim

import (
	"cmp"
	"errors"
	"net/http"
)

type feedBody struct {
	Cycle  bool   `json:"cycle"`
	Error  string `json:"error"`
	Expire bool   `json:"expire"`
	Refuse *int   `json:"refuse"`
}

func (t *Tenant) controlFeed(b feedBody) (any, error) {
	switch {
	case b.Refuse != nil && *b.Refuse != 0 && *b.Refuse != http.StatusForbidden && *b.Refuse != http.StatusNotFound:
		return nil, errors.New("refuse: expected 403, 404, or 0 to have events again")
	case b.Refuse != nil:
		t.SetNoEvents(*b.Refuse != 0, *b.Refuse)
	case b.Expire:
		t.ExpireFeed()
	case b.Error != "":
		return map[string]int{"connections": t.FailFeed(b.Error)}, nil
	case b.Cycle:
		return map[string]int{"connections": t.CycleFeed()}, nil
	default:
		return nil, errors.New("expected one of cycle, error, expire, refuse")
	}
	return done(), nil
}

type logStreamBody struct {
	URL           string    `json:"url"`
	Authorization string    `json:"authorization"`
	Format        LogFormat `json:"format"`
	Mask          bool      `json:"mask"`
}

func (t *Tenant) controlLogStream(b logStreamBody) (any, error) {
	b.Format = cmp.Or(b.Format, JSONLines)
	if err := errors.Join(checkTarget(b.URL), b.Format.known()); err != nil {
		return nil, err
	}
	t.ConnectLogStream(b.URL, b.Authorization, b.Format, b.Mask)
	return done(), nil
}
