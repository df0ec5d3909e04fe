package worker

import (
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// What led to a customer that was linked.
const (
	foundByDelivery  = "delivery"  // Auth0 told of its user, by whatever lane
	foundByCron      = "cron"      // it was its turn
	foundByReconcile = "reconcile" // all were looked at
	foundByRequest   = "request"   // somebody asked for it
)

// waited is for how long a customer could have been linked, and what ended that.
type waited struct {
	since time.Time
	by    string
}

// waitedFor says since when both sides of a link were there: the customer, and its
// user as it is now. A login moves the user's last change as well, so that this is
// the least that it can have been.
func (p *pass) waitedFor(l look, userID string) waited {
	w := waited{l.due.CreatedAt, p.foundBy(l.due)}
	for _, u := range l.found {
		if u.ID == userID && u.UpdatedAt.After(w.since) {
			w.since = u.UpdatedAt
		}
	}
	return w
}

func (p *pass) foundBy(due customer.Due) string {
	switch {
	case due.Hint.AuthUserID != "":
		return foundByDelivery
	case isFull(p.order.Kind):
		return foundByReconcile
	case due.Urgent, p.order.Kind == KindSync:
		return foundByRequest
	}
	return foundByCron
}

// tellLags shows how long those waited who are linked now. Now is by the database's
// clock; Auth0's may be ahead of it.
func (p *pass) tellLags(linked []customer.ID, lags map[customer.ID]waited) {
	now := p.now.Add(time.Since(p.began))
	for _, id := range linked {
		if w, told := lags[id]; told {
			p.metrics.lag.WithLabelValues(w.by).Observe(max(now.Sub(w.since), 0).Seconds())
		}
	}
}
