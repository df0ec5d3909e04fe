package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// actor is a client that tries each act once, wherever it is its turn.
type actor struct {
	*client
	n     int
	dice  *rand.Rand
	began time.Time
	made  int                   // names so far
	seen  map[customer.ID]int64 // versions, last
}

func (c *actor) work(ctx context.Context, people []*person, acts *atomic.Int64, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		p := people[c.dice.IntN(len(people))]
		a := c.think(p.id)
		asked := time.Since(c.began)
		r, sent, err := c.act(ctx, p.id, a)
		if err != nil {
			return err
		}
		if !sent {
			continue
		}
		if a.op == opRead && r.status == http.StatusOK {
			c.seen[p.id] = r.version
		}
		p.note(c.n, a, asked, r, time.Since(c.began))
		if r.status != 0 {
			acts.Add(1)
		}
	}
}

// think is what to do next: mostly read or rename, the latter often only if nobody
// else has since.
func (c *actor) think(id customer.ID) act {
	c.turn = c.dice.IntN(len(c.load.doors))
	switch chance := c.dice.IntN(200); {
	case chance < 100:
		return act{op: opRead}
	case chance == 199:
		return act{op: opClose}
	default:
		c.made++
		a := act{op: opRename, name: fmt.Sprintf("Ada %d of %d", c.made, c.n)}
		if chance%2 == 0 {
			a.ifMatch = c.seen[id]
		}
		return a
	}
}

// act does one thing; sent is false if it surely was not asked for. A 503 may have
// been done all the same.
func (c *actor) act(ctx context.Context, id customer.ID, a act) (r reply, sent bool, err error) {
	req, err := c.ask(ctx, id, a)
	if err != nil {
		return r, false, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		return r, !errors.As(err, &op) || op.Op != "dial", ctx.Err()
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return r, true, ctx.Err()
	}
	switch res.StatusCode {
	case http.StatusServiceUnavailable:
		return r, true, nil
	case http.StatusOK, http.StatusConflict, http.StatusPreconditionFailed:
		r.status = res.StatusCode
	default:
		return r, true, fmt.Errorf("%s: status %d", a.op, res.StatusCode)
	}
	if a.op == opRead {
		r.register, err = readRegister(res.Header.Get("ETag"), text)
	}
	return r, true, err
}

func (c *actor) ask(ctx context.Context, id customer.ID, a act) (*http.Request, error) {
	body := ""
	if a.op == opRename {
		body = fmt.Sprintf(`{"first_name":%q}`, a.name)
	}
	req, err := c.request(ctx, a.op, "/"+string(id), body)
	if err == nil && a.ifMatch != 0 {
		req.Header.Set("If-Match", tag(id, a.ifMatch))
	}
	return req, err
}

// tag is the entity tag of a customer's version.
func tag(id customer.ID, version int64) string {
	return fmt.Sprintf(`"%d-%s"`, version, id[len(id)-12:])
}

func readRegister(tag string, body []byte) (r register, err error) {
	var a answer
	_, err = fmt.Sscanf(tag, `"%d-`, &r.version)
	err = errors.Join(err, json.Unmarshal(body, &a))
	r.name, r.closed = a.Data.FirstName, a.Data.Lifecycle == customer.Inactive
	return r, err
}
