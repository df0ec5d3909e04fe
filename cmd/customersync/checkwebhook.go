package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/customer"
)

// webhook posts samples as our Action signs them, about a user whom nobody has:
// straight to the daemon of this machine, then to where Auth0 sends them, so that
// one can tell a daemon that refuses from a way that does not lead to it.
func (c *checks) webhook(ctx context.Context, url string) {
	if url == "" {
		return
	}
	if len(c.config.actionSecrets) == 0 {
		c.fail("webhook", errors.New("there is no secret to sign a sample with"), "set CUSTOMERSYNC_ACTION_SECRETS")
		return
	}
	if here := localWebhook(c.config.listen); here != "" {
		if says, toDo := sample(ctx, here, c.config.actionSecrets[0]); toDo != "" { // it may serve on another machine
			c.warn("webhook here", says, "if the daemon is to serve on this machine: see that it runs, and CUSTOMERSYNC_LISTEN; "+toDo)
		} else {
			c.ok("webhook here", says)
		}
	}
	if says, toDo := sample(ctx, url, c.config.actionSecrets[0]); toDo != "" {
		c.fail("webhook", errors.New(says), toDo)
	} else {
		c.ok("webhook", says)
	}
}

// localWebhook is the webhook of a daemon that listens on this machine; "" where
// the port is not known.
func localWebhook(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/webhooks/auth0"
}

// sample posts one sample; toDo is "" if it was taken in.
func sample(ctx context.Context, url, secret string) (says, toDo string) {
	status, err := postSample(ctx, url, secret)
	switch {
	case err != nil:
		return err.Error(), "see that " + url + " leads here: DNS, TLS, proxies, CUSTOMERSYNC_LISTEN"
	case status == http.StatusForbidden:
		return "the sample was refused: 403", "the daemon there has another CUSTOMERSYNC_ACTION_SECRETS, or its clock is wrong"
	case status < 200 || status > 299:
		return fmt.Sprintf("the sample was answered with %d", status), "see that " + url + " leads here, with /webhooks/auth0 as its path"
	}
	return "a signed sample was taken in at " + url, ""
}

func postSample(ctx context.Context, url, secret string) (status int, err error) {
	signer, err := webhooks.NewWebhook(secret)
	if err != nil {
		return 0, err
	}
	id, at := customer.SampleID+uuid.NewString(), time.Now()
	body := []byte(`{"type":"post-user-registration","tenant":"customersync-check","connection":{"name":"none"},"user":{"user_id":"check|` + id + `","email_verified":false}}`)
	signature, err := signer.Sign(id, at, body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	client := &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // nor do the Actions
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
