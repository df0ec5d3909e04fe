package auth0sim

import (
	"net/http"
	"slices"
)

// serveLogs answers a page, newest first, or what follows a checkpoint, in the
// order of ids, which is not that of dates.
func (t *Tenant) serveLogs(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	take, ok := whole(w, values, "take", defaultPage, largestPage)
	if !ok {
		return
	}
	page, ok := pageOf(w, values)
	if !ok {
		return
	}
	entries := t.logsNow()
	switch {
	case values.Has("from") || values.Has("take"):
		if entries, ok = t.logsAfter(entries, values.Get("from"), take); !ok {
			badRequest(w, "The log_id of the checkpoint does not exist.", "invalid_query_string")
			return
		}
	case page.start()+page.size > searchable:
		badRequest(w, paging, "invalid_paging")
		return
	default:
		total := len(entries)
		entries = slices.Clone(entries[total-page.to(total) : total-page.from(total)])
		slices.Reverse(entries)
	}
	found := make([]map[string]any, len(entries))
	for i, entry := range entries {
		found[i] = entry.json(t)
		if t.o.MaskLogs {
			found[i], _ = mask(found[i]).(map[string]any) // it was one
		}
	}
	writeJSON(w, http.StatusOK, found)
}

// logsNow are the entries there are. They are never changed, so no lock is needed
// to read them.
func (t *Tenant) logsNow() []logEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := &t.tenantLog; l.held != nil && t.now().Sub(l.heldAt) >= longestHold {
		t.enterHeld()
	}
	t.forgetLogs()
	return t.tenantLog.entries
}

// logsAfter are those after a checkpoint; ok is false for one that is not there
// any more, if the tenant refuses such.
func (t *Tenant) logsAfter(entries []logEntry, checkpoint string, take int) (after []logEntry, ok bool) {
	at := len(entries) - 1
	for ; at >= 0 && entries[at].id != checkpoint; at-- { // it is one of the last
	}
	if at < 0 && checkpoint != "" && t.o.RefuseLostLogs {
		return nil, false
	}
	after = entries[at+1 : min(at+1+take, len(entries))]
	if t.o.LogsShuffled || t.o.Rude {
		after = slices.Clone(after)
		slices.Reverse(after)
	}
	return after, true
}
