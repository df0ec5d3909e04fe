package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// lookedUp waits until the worker has looked a customer up, who is not at Auth0.
func lookedUp(ctx context.Context, c *client, p *subject) error {
	return c.load.settled(ctx, "the look", `
		select reason = 'not_registered' and next_check_at > now()
		from customers
		where id = $1`, p.id)
}

// linkByDelivery is a customer who then signs up.
func linkByDelivery(ctx context.Context, c *client, p *subject) error {
	if err := create(ctx, c, p); err != nil {
		return err
	}
	if err := c.deliver(ctx, &p.account); err != nil {
		return err
	}
	return c.linked(ctx, p)
}

// deliveryFirst is somebody who signs up and then becomes a customer.
func deliveryFirst(ctx context.Context, c *client, p *subject) error {
	if err := c.deliver(ctx, &p.account); err != nil {
		return err
	}
	err := c.load.settled(ctx, "the delivery to be kept", `
		select state = 'kept'
		from inbox
		where hint_email_key = $1`, p.email)
	if err != nil {
		return err
	}
	if err := create(ctx, c, p); err != nil {
		return err
	}
	return c.linked(ctx, p)
}

func (c *client) linked(ctx context.Context, p *subject) error {
	return c.load.settled(ctx, "the link", `
		select lifecycle = 'active'
		from customers
		where id = $1`, p.id)
}

// settled waits until a query says true, and no worker is at work.
func (l *load) settled(ctx context.Context, what, query string, of any) error {
	if id, ok := of.(customer.ID); ok {
		of = string(id)
	}
	if key, ok := of.(customer.EmailKey); ok {
		of = string(key)
	}
	return until(ctx, giveUp, what, func() bool {
		var so sql.NullBool
		err := l.w.db.QueryRowContext(ctx, `select (`+query+`) and not exists (select from leases where expires_at > clock_timestamp())`, of).Scan(&so)
		return err == nil && so.Bool
	})
}

// deliver signs somebody up, and tells the webhook until it has taken it.
func (c *client) deliver(ctx context.Context, a *account) error {
	u, err := c.load.quietSignUp(a)
	if err != nil {
		return err
	}
	for end := time.Now().Add(giveUp); time.Now().Before(end); {
		if status, err := c.post(ctx, u); err == nil && status < http.StatusMultipleChoices {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("a delivery was never taken")
}

// post is one try, as the Action makes it.
func (c *client) post(ctx context.Context, u auth0sim.User) (status int, err error) {
	at := u.CreatedAt.UTC().Format(time.RFC3339Nano)
	body := []byte(fmt.Sprintf(`{"type":"post-user-registration","tenant":"customersync-sim","connection":{"name":"email"},
		"user":{"user_id":%q,"email":%q,"email_verified":true,"created_at":%q,"updated_at":%q}}`, u.ID, u.Email, at, at))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.load.doors[0]+"/webhooks/auth0", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if err := sign(req, c.load.w.secret, "step_"+u.ID, body); err != nil {
		return 0, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func sign(req *http.Request, secret, id string, body []byte) error {
	signer, err := webhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	now := time.Now()
	signature, err := signer.Sign(id, now, body)
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id},
		"Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	return err
}
