package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// foldedLooks is what the column looks of a customer c becomes by a hold h: a look that
// came to the same as the one before adds to that, and of the others the newest twelve
// stay. A hold without a look leaves it as it is.
const foldedLooks = `case
			    when h.by = '' then c.looks
			    when c.looks -> -1 ->> 'reason' = h.reason then jsonb_set(c.looks, '{-1}', (c.looks -> -1) || jsonb_build_object(
			      'by', h.by, 'last', clock_timestamp(), 'count', (c.looks -> -1 ->> 'count')::int + 1))
			    else case when jsonb_array_length(c.looks) >= 12 then c.looks - 0 else coalesce(c.looks, '[]') end || jsonb_build_array(
			      jsonb_build_object('reason', h.reason, 'by', h.by, 'count', 1, 'first', clock_timestamp(), 'last', clock_timestamp()))
			  end`

// parseLooks reads that column.
func parseLooks(b []byte) ([]customer.Look, error) {
	if b == nil {
		return nil, nil
	}
	var kept []struct {
		Reason customer.Reason `json:"reason"`
		By     string          `json:"by"`
		Count  int             `json:"count"`
		First  time.Time       `json:"first"`
		Last   time.Time       `json:"last"`
	}
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, fmt.Errorf("read looks: %w", err)
	}
	looks := make([]customer.Look, len(kept))
	for i, k := range kept {
		looks[i] = customer.Look{Reason: k.Reason, By: k.By, Count: k.Count, First: k.First.UTC(), Last: k.Last.UTC()}
	}
	return looks, nil
}
