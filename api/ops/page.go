package ops

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

// Store is what the page shows, and changes for a person who says why.
type Store interface {
	Status(ctx context.Context) (customer.Status, error)
	Explain(ctx context.Context, id customer.ID) (customer.Explanation, error)
	CustomerByEmail(ctx context.Context, key customer.EmailKey) (customer.Customer, error)
	CustomerByAuthUser(ctx context.Context, authUserID string) (customer.Customer, error)
	Conflicts(ctx context.Context, after customer.ID, limit int) ([]customer.Conflict, error)
	Runs(ctx context.Context, limit int) ([]customer.Run, error)
	Reveal(ctx context.Context, id customer.ID, cause customer.Cause) (customer.Customer, error)
	LookNow(ctx context.Context, id customer.ID) error
	Patch(ctx context.Context, id customer.ID, p customer.Patch, ifVersion int64, cause customer.Cause) (customer.Customer, error)
	CloseCustomer(ctx context.Context, id customer.ID, ifVersion int64, cause customer.Cause) error
}

// PageConfig is what the page needs to know.
type PageConfig struct {
	Loopback bool   // only this machine reaches the listener
	Login    *Login // nil: none, so that the page is for this machine alone
	Logger   *zap.Logger
	Now      func() time.Time // nil: time.Now
}

// page is the operator page.
type page struct {
	store  Store
	status *statusCache
	login  *login // nil: none
	log    *zap.Logger
	now    func() time.Time
}

// readWithin is how long a page may wait for the database.
const readWithin = 5 * time.Second

// maxForm is enough for any address or user id, percent-encoded.
const maxForm = 4 << 10

// NewPage serves the operator page under /ops/: how the whole stands, why one
// customer is in its state, and what a person can do about it. Without a login it is
// refused on a listener that others reach; with one everybody signs in, on this machine
// too. It is refused to requests that another site had the browser make.
func NewPage(c PageConfig, s Store) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &page{s, &statusCache{read: s.Status, now: c.Now}, newLogin(c.Login), c.Logger, c.Now}
	mux := http.NewServeMux()
	for _, r := range p.routes() {
		mux.HandleFunc(r.pattern, p.handle(p.allow(r)))
	}
	return guard(c.Loopback, p.login, http.NewCrossOriginProtection().Handler(mux))
}

var errNoPage = errors.New("no such page")

// handle gives a page its time and turns its error into a page that says what to do.
func (p *page) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readWithin)
		defer cancel()
		if err := do(w, r.WithContext(ctx)); err != nil {
			p.fail(w, err)
		}
	}
}

func (p *page) fail(w http.ResponseWriter, err error) {
	if p.refuse(w, err) {
		return
	}
	var field customer.FieldError
	switch {
	case errors.Is(err, errNoPage):
		render(w, http.StatusNotFound, "message", message{"No such page", "Nothing is at this address."})
	case errors.Is(err, customer.ErrNotFound):
		render(w, http.StatusNotFound, "message", message{"No such customer", "Nobody has this e-mail address or id. Is it spelled as it was typed at the sign-up?"})
	case errors.As(err, &field):
		render(w, http.StatusUnprocessableEntity, "message", message{"Not understood", "Nothing was changed. " + field.Error() + "."})
	case errors.Is(err, customer.ErrStale):
		render(w, http.StatusConflict, "message", message{"Changed meanwhile", "Somebody or something changed this customer after you saw the preview. Nothing was done: look at it again."})
	case errors.Is(err, customer.ErrInactive):
		render(w, http.StatusConflict, "message", message{"Closed", "This customer is closed, which is final."})
	case errors.Is(err, customer.ErrAuthUserTaken):
		render(w, http.StatusConflict, "message", message{"Taken", "Another customer has this Auth0 user. Find it by the auth_user_id; nothing was done."})
	case errors.Is(err, errNothing):
		render(w, http.StatusUnprocessableEntity, "message", message{"Nothing to do", "The customer is as you want it."})
	case errors.Is(err, errCounting):
		w.Header().Set("Retry-After", "5")
		render(w, http.StatusServiceUnavailable, "message", message{"One moment", "The customers are being counted, which takes a while in a large table. Reload in some seconds."})
	default:
		p.log.Warn("operator page", zap.Error(err))
		render(w, http.StatusServiceUnavailable, "message", message{"The database does not answer", "Nothing can be shown now. /readyz says what is wrong; reload in a while."})
	}
}

func (p *page) home(w http.ResponseWriter, r *http.Request) error {
	status, err := p.status.get(r.Context())
	if err != nil {
		return err
	}
	render(w, http.StatusOK, "home", homeOf(status))
	return nil
}

// find is a POST, so that no address stands in a URL, a browser's history or a log.
func (p *page) find(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, err := p.search(r.Context(), strings.TrimSpace(r.PostFormValue("q")))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/ops/customers/"+string(id), http.StatusSeeOther) //nolint:gosec // a UUID below our own path
	return nil
}

func (p *page) search(ctx context.Context, q string) (customer.ID, error) {
	if id, err := customer.ParseID(q); err == nil {
		return id, nil
	}
	if strings.Contains(q, "|") { // no address has one: quoted local parts are refused
		found, err := p.store.CustomerByAuthUser(ctx, q)
		return found.ID, err
	}
	email, err := customer.ParseEmail(q)
	if err != nil {
		return "", customer.FieldError{Field: "q", Problem: "must be an e-mail address, a customer_id or an auth_user_id"}
	}
	found, err := p.store.CustomerByEmail(ctx, email.Key)
	return found.ID, err
}

func (p *page) customer(w http.ResponseWriter, r *http.Request) error {
	id, err := customer.ParseID(r.PathValue("customer_id"))
	if err != nil {
		return customer.ErrNotFound
	}
	e, err := p.store.Explain(r.Context(), id)
	if err != nil {
		return err
	}
	render(w, http.StatusOK, "customer", customerOf(e))
	return nil
}

// conflictsShown is how many a page holds.
const conflictsShown = 50

func (p *page) conflicts(w http.ResponseWriter, r *http.Request) error {
	after, err := customer.ParseID(r.URL.Query().Get("after"))
	if err != nil {
		after = "" // from the start
	}
	found, err := p.store.Conflicts(r.Context(), after, conflictsShown)
	if err != nil {
		return err
	}
	render(w, http.StatusOK, "conflicts", conflictsOf(found))
	return nil
}

// runsShown is how many runs are listed: half a day of quiet ones.
const runsShown = 200

func (p *page) runs(w http.ResponseWriter, r *http.Request) error {
	runs, err := p.store.Runs(r.Context(), runsShown)
	if err != nil {
		return err
	}
	render(w, http.StatusOK, "runs", runs)
	return nil
}
