package ops

import (
	"cmp"
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
	Glance(ctx context.Context) (customer.Status, error)
	Counts(ctx context.Context) (customer.Status, error)
	Lags(ctx context.Context, since time.Time) ([]customer.Lag, error)
	Heard(ctx context.Context) ([]customer.Heard, error)
	Explain(ctx context.Context, id customer.ID) (customer.Explanation, error)
	CustomerByEmail(ctx context.Context, key customer.EmailKey) (customer.Customer, error)
	CustomerByAuthUser(ctx context.Context, authUserID string) (customer.Customer, error)
	Conflicts(ctx context.Context, after customer.ID, limit int) ([]customer.Conflict, error)
	Waiting(ctx context.Context, reason customer.Reason, after customer.ID, limit int) ([]customer.Waits, error)
	RunsBefore(ctx context.Context, before int64, limit int) ([]customer.Run, error)
	Run(ctx context.Context, id int64) (customer.Run, error)
	RunChanges(ctx context.Context, run int64, after customer.ID, version int64, limit int) ([]customer.RunChange, error)
	Plan(ctx context.Context) (customer.Plan, error)
	PlanRows(ctx context.Context, id int64, after, limit int) ([]customer.PlanRow, error)
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
	Self     Self             // nil: nothing is known of this process
	Checks   []Check          // those of /readyz
	Planner  Planner          // nil: nothing is planned from here
	// CountWithin is how long a page waits for customers to be counted, before it is
	// shown without; 0 means 20 milliseconds.
	CountWithin time.Duration
}

// page is the operator page.
type page struct {
	store    Store
	counts   *countCache
	login    *login // nil: none
	log      *zap.Logger
	now      func() time.Time
	self     Self
	checks   []Check
	planner  Planner
	patience time.Duration
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
	p := &page{
		store: s, counts: &countCache{read: s.Counts, now: c.Now, log: c.Logger}, login: newLogin(c.Login), log: c.Logger, now: c.Now,
		self: c.Self, checks: c.Checks, planner: c.Planner, patience: cmp.Or(c.CountWithin, countPatience),
	}
	mux := http.NewServeMux()
	for _, r := range p.routes() {
		mux.HandleFunc(r.pattern, p.handle(p.allow(r)))
	}
	return guard(c.Loopback, p.login, http.NewCrossOriginProtection().Handler(mux))
}

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
	case told(w, err):
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
	default:
		p.log.Warn("operator page", zap.Error(err))
		render(w, http.StatusServiceUnavailable, "message", message{"The database does not answer", "Nothing can be shown now. /readyz says what is wrong; reload in a while."})
	}
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
	render(w, http.StatusOK, "customer", customerOf(e, rightsOf(r)))
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
