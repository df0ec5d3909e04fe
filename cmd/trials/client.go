package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// client is an application's back end: it tries each operation until it is
// acknowledged, at one replica and then at the other.
type client struct {
	load *load
	http *http.Client
	turn int
}

// giveUp is when an operation has been refused for so long that nothing heals.
const giveUp = 30 * time.Second

// answer is what all answers of the API that matter here have in them.
type answer struct {
	ID   customer.ID `json:"customer_id"`
	Data struct {
		FirstName string             `json:"first_name"`
		Lifecycle customer.Lifecycle `json:"customer_lifecycle"`
	} `json:"data"`
	Error struct {
		Code string `json:"code"`
	} `json:"error"`
}

// insist does one operation and says how long it took. Whatever cannot come of
// the fault is an error at once.
func (c *client) insist(ctx context.Context, method, path, body, key string) (answer, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	start := time.Now()
	for {
		status, a, err := c.try(ctx, method, path, body, key)
		switch {
		case err == nil && status == http.StatusOK:
			return a, time.Since(start), nil
		case err == nil && status != http.StatusServiceUnavailable && a.Error.Code != "idempotency_key_in_progress":
			return a, 0, fmt.Errorf("%s %s: status %d, code %s", method, path, status, a.Error.Code)
		}
		c.turn++
		select {
		case <-ctx.Done():
			return a, 0, fmt.Errorf("%s %s was never acknowledged: last status %d: %w", method, path, status, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// try is one request, and notes what came of it; an error means that there was no
// whole answer.
func (c *client) try(ctx context.Context, method, path, body, key string) (int, answer, error) {
	c.load.inFlight.Add(1)
	defer c.load.inFlight.Add(-1)
	began := time.Now()
	status, a, err := c.send(ctx, method, path, body, key)
	if err != nil {
		status = 0
	}
	c.load.attempts.note(method, began, status)
	return status, a, err
}

// request is one to the replica whose turn it is.
func (c *client) request(ctx context.Context, method, path, body string) (*http.Request, error) {
	at := c.load.doors[c.turn%len(c.load.doors)]
	req, err := http.NewRequestWithContext(ctx, method, "http://"+at+"/customer/v1/customers"+path, bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.load.w.token)
	req.Header.Set("Ahiko-App-Id", c.load.w.appKey)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

func (c *client) send(ctx context.Context, method, path, body, key string) (int, answer, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return 0, answer{}, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, answer{}, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, answer{}, err
	}
	var a answer
	return res.StatusCode, a, json.Unmarshal(text, &a)
}
