package worker

import (
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// since is when both sides of a link were there: the customer, and its user as it is
// now. A login moves the user's last change as well, so that what it waited since then
// is the least that it can have been.
func (l look) since(userID string) time.Time {
	at := l.due.CreatedAt
	for _, u := range l.found {
		if u.ID == userID && u.UpdatedAt.After(at) {
			at = u.UpdatedAt
		}
	}
	return at
}

func (p *pass) foundBy(due customer.Due) customer.Finder {
	switch {
	case due.Hint.AuthUserID != "":
		return customer.FoundByDelivery
	case isFull(p.order.Kind):
		return customer.FoundByReconcile
	case due.Urgent, p.order.Kind == KindSync:
		return customer.FoundByRequest
	}
	return customer.FoundByCron
}

// tellLags shows how long those waited who are linked now. Now is by the database's
// clock; Auth0's may be ahead of it.
func (p *pass) tellLags(linked []customer.ID, links []customer.Link) {
	now := p.now.Add(time.Since(p.began))
	byID := map[customer.ID]customer.Link{}
	for _, l := range links {
		byID[l.Customer] = l
	}
	for _, id := range linked {
		if l, told := byID[id]; told {
			p.metrics.lag.WithLabelValues(string(l.FoundBy)).Observe(max(now.Sub(l.Since), 0).Seconds())
		}
	}
}
