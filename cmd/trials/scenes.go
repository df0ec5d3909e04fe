package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// scene is one thing that the program does, from what somebody asks for until it has
// all been done.
type scene struct {
	name   string
	about  []string                                               // operations that the program dies in, as it names them
	nth    string                                                 // only the so-manieth of each since the start; "": all
	waking bool                                                   // it is what the program does as it starts
	set    func(ctx context.Context, c *client, p *subject) error // what is there before
	play   func(ctx context.Context, c *client, p *subject) error
}

// scenes are all there are.
func scenes() []scene {
	return []scene{
		{name: "create", about: []string{"create"}, set: nothing, play: createKeyless},
		{name: "create with a key", about: []string{"create"}, set: nothing, play: create},
		{name: "create many", about: []string{"create"}, nth: "3", set: nothing, play: createMany},
		{name: "create again", about: []string{"create"}, set: create, play: createElsewhere},
		{name: "rename", about: []string{"patch"}, set: create, play: renameOnce},
		{name: "rename many", about: []string{"patch"}, nth: "3", set: createMany, play: renameMany},
		{name: "link by PATCH", about: []string{"patch"}, set: create, play: linkByHand},
		{name: "close", about: []string{"close"}, set: create, play: closeOnce},
		{name: "erase", about: []string{"bar names", "wait for writers", "erase"}, set: renamed, play: eraseOnce},
		{name: "look", about: []string{"take lease", "record run", "hold", "release lease"}, nth: "1", waking: true, set: create, play: lookedUp},
		{
			name:  "link by a delivery",
			about: []string{"receive deliveries", "take lease", "record run", "absorb", "link", "note what was seen", "release lease"},
			set:   nothing, play: linkByDelivery,
		},
		{
			name:  "delivery before the customer",
			about: []string{"receive deliveries", "absorb", "forget run", "create", "link"},
			set:   nothing, play: deliveryFirst,
		},
	}
}

// reading are the operations that change nothing, so that it is nothing to die in them.
var reading = []string{ //nolint:gochecknoglobals // a table
	"probe for work", "read app keys", "read clock", "read customer", "read due customers", "read erasure", "read partial deliveries",
	"read who holds what", "read last runs", "read status", "read how it stands", "count pending customers", "count due customers",
	"count customers whose user is gone", "ask for gaps", "read cursor", "look for erasures by another key", "ask who waits",
	"read who was met", "read last deliveries",
}

// subject is whom a scene is about.
type subject struct {
	account
	others []account // who come at the same time
}

// keyless is the first name of those who are made without an idempotency key.
const keyless = "Keyless"

// many are enough for a third round of several while two are under way.
const many = 12

func (l *load) newSubject() *subject {
	return &subject{account: l.newAccount()}
}

func (l *load) newAccount() account {
	n := l.made.Add(1)
	return account{email: customer.EmailKey(fmt.Sprintf("person%d@example.com", n)), key: fmt.Sprintf("key-%d", n), firstName: "Ada"}
}

func nothing(context.Context, *client, *subject) error { return nil }

func create(ctx context.Context, c *client, p *subject) error { return c.create(ctx, &p.account) }

// create makes a customer.
func (c *client) create(ctx context.Context, a *account) error {
	body := fmt.Sprintf(`{"first_name":%q,"last_name":"L","email_address":%q}`, a.firstName, a.email)
	got, took, err := c.insist(ctx, http.MethodPost, "", body, a.key)
	if err != nil {
		return err
	}
	if a.id != "" && a.id != got.ID {
		return fmt.Errorf("customer %s was answered as %s", a.id, got.ID)
	}
	a.id = got.ID
	c.load.ledger.acknowledged(*a, took)
	return nil
}

func createKeyless(ctx context.Context, c *client, p *subject) error {
	p.key, p.firstName = "", keyless
	return c.create(ctx, &p.account)
}

// createElsewhere asks for a customer who is there, by another key.
func createElsewhere(ctx context.Context, c *client, p *subject) error {
	again := p.account
	again.key = ""
	body := fmt.Sprintf(`{"first_name":"Ada","last_name":"L","email_address":%q}`, p.email)
	got, _, err := c.insist(ctx, http.MethodPost, "", body, "")
	if err == nil && got.ID != p.id {
		err = fmt.Errorf("customer %s was answered as %s", p.id, got.ID)
	}
	return err
}

// createMany makes customers at the same time, most of them in one round: the two
// before it wait for a table meanwhile.
func createMany(ctx context.Context, c *client, p *subject) error {
	p.others = make([]account, many)
	for n := range p.others {
		p.others[n] = c.load.newAccount()
	}
	return c.load.atOnce(ctx, p, func(c *client, a *account) error { return c.create(ctx, a) })
}

func renameMany(ctx context.Context, c *client, p *subject) error {
	return c.load.atOnce(ctx, p, func(c *client, a *account) error { return c.load.rename(ctx, c, a) })
}

// atOnce has a client do something about each of the others while nobody's history can
// be written, so that what comes after the first two waits for them.
func (l *load) atOnce(ctx context.Context, p *subject, do func(c *client, a *account) error) error {
	tx, err := l.w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it lets go
	if _, err := tx.ExecContext(ctx, "lock table history in share mode"); err != nil {
		return err
	}
	done := make(chan error, len(p.others))
	for n := range p.others {
		go func() { done <- do(l.newClient(0), &p.others[n]) }()
	}
	err = until(ctx, giveUp, "everybody to be under way", func() bool { return l.inFlight.Load() == int64(len(p.others)) })
	err = errors.Join(err, pause(ctx, 200*time.Millisecond), tx.Rollback())
	for range p.others {
		err = errors.Join(err, <-done)
	}
	return err
}

func renameOnce(ctx context.Context, c *client, p *subject) error {
	return c.load.rename(ctx, c, &p.account)
}

func renamed(ctx context.Context, c *client, p *subject) error {
	return errors.Join(create(ctx, c, p), renameOnce(ctx, c, p))
}

func closeOnce(ctx context.Context, c *client, p *subject) error {
	_, took, err := c.insist(ctx, http.MethodDelete, "/"+string(p.id), "", "")
	if err == nil {
		p.closed = true
		c.load.ledger.acknowledged(p.account, took)
	}
	return err
}

func eraseOnce(ctx context.Context, c *client, p *subject) error {
	_, took, err := c.insist(ctx, http.MethodDelete, "/"+string(p.id)+"?erase=true", "", "")
	if err == nil {
		c.load.ledger.erased(p.account, took)
	}
	return err
}

func linkByHand(ctx context.Context, c *client, p *subject) error {
	u, err := c.load.quietSignUp(&p.account)
	if err != nil {
		return err
	}
	_, took, err := c.insist(ctx, http.MethodPatch, "/"+string(p.id), fmt.Sprintf(`{"auth_user_id":%q}`, u.ID), "")
	if err == nil {
		c.load.ledger.acknowledged(p.account, took)
	}
	return err
}

// quietSignUp is one that nobody is told of.
func (l *load) quietSignUp(a *account) (auth0sim.User, error) {
	a.signedUp = true
	verified := true
	return l.w.tenant.SignUp(auth0sim.SignUp{Email: string(a.email), Connection: auth0sim.Passwordless, EmailVerified: &verified, DropDeliveries: true})
}
