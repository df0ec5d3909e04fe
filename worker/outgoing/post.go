package outgoing

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

const (
	answerWithin = 10 * time.Second
	// mostAnswer is what is read of an answer: so little lets the connection serve on.
	mostAnswer = 16 << 10 // bytes
)

// newClient makes the client for deliveries. It follows no redirect: a signed event is
// for its target alone. Targets are the operator's own choice, so they may have private
// addresses; link-local ones, where clouds keep credentials, are no target.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: answerWithin / 2, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || at.Addr().Unmap().IsLinkLocalUnicast() || at.Addr().Unmap().IsMulticast() || at.Addr().IsUnspecified() {
			return errNoTarget
		}
		return nil
	}}
	return &http.Client{
		Timeout:       answerWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: answerWithin / 2, MaxResponseHeaderBytes: mostAnswer,
			MaxIdleConnsPerHost: atOnce, IdleConnTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true,
		},
	}
}

var errNoTarget = errors.New("the address is link-local or no address to connect to")

// body is an event as the API's feed has it.
type body struct {
	ID         string             `json:"event_id"`
	Type       customer.EventType `json:"type"`
	OccurredAt string             `json:"occurred_at"`
	Customer   customer.ID        `json:"customer_id"`
	Version    int64              `json:"version"`
	Lifecycle  customer.Lifecycle `json:"customer_lifecycle"`
	Field      *string            `json:"field"`
}

func bodyOf(e customer.Event) body {
	b := body{e.ID(), e.Type, e.At.UTC().Format(customer.TimeFormat), e.Customer, e.Version, e.Lifecycle, nil}
	if e.Field != "" {
		b.Field = &e.Field
	}
	return b
}

// post delivers an event, signed as Standard Webhooks says. Any 2xx means that it was
// taken. Errors say no more of the target than how it answered.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func post(ctx context.Context, client *http.Client, t Target, e customer.Event, now time.Time) error {
	content, err := json.Marshal(bodyOf(e))
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(content))
	if err != nil {
		return errors.New("the URL is not one")
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "customersync")
	request.Header.Set("Webhook-Id", e.ID())
	request.Header.Set("Webhook-Timestamp", stamp)
	request.Header.Set("Webhook-Signature", t.sign(e.ID(), stamp, content))
	response, err := client.Do(request)
	if err != nil {
		return plain(err)
	}
	_, _ = io.CopyN(io.Discard, response.Body, mostAnswer) // only the status counts
	_ = response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// sign lists the signature by each secret.
func (t Target) sign(id, stamp string, content []byte) string {
	var all []string
	for _, secret := range t.Secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp) // a hash never fails
		_, _ = mac.Write(content)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// plain is what went wrong without the URL, in which there may be a secret.
func plain(err error) error {
	var wrapped *url.Error
	switch {
	case errors.As(err, &wrapped) && wrapped.Timeout():
		return fmt.Errorf("no answer within %s", answerWithin)
	case errors.As(err, &wrapped):
		return wrapped.Err
	}
	return err
}
