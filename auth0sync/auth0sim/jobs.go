package auth0sim

import (
	"maps"
	"net/http"
	"time"
)

const (
	// jobKept is how long a job, and its file, are there.
	jobKept = 24 * time.Hour
	// linkKept is how long a link to the file is good for.
	linkKept = 60 * time.Second
)

// job is an export of users.
type job struct {
	id      string
	request map[string]any // as it was asked for
	made    time.Time
	built   chan struct{} // closed when file is there
	file    []byte        // gzip
	links   map[string]time.Time
}

// serveExport takes an export job on.
// https://auth0.com/docs/manage-users/user-migration/bulk-user-exports
func (t *Tenant) serveExport(w http.ResponseWriter, r *http.Request) {
	request := map[string]any{}
	if !readBody(w, r, &request) {
		return
	}
	if id, ok := request["connection_id"]; ok {
		for _, c := range connections() {
			if c.id == id {
				request["connection"] = c.name
			}
		}
		if request["connection"] == nil {
			badRequest(w, errNoConnection.Error(), "inexistent_connection")
			return
		}
	}
	e, message := exportOf(request)
	if message != "" {
		badRequest(w, "Payload validation error: '"+message+"'.", "invalid_body")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	j := &job{id: "job_" + randomHex(8), request: request, made: t.now(), built: make(chan struct{}), links: map[string]time.Time{}}
	t.jobs[j.id] = j
	t.inFlight++
	go t.build(j, e)
	writeJSON(w, http.StatusOK, j.describe("pending"))
}

// isBuilt gives small files the moment they take: tests move the clock.
func (j *job) isBuilt() bool {
	select {
	case <-j.built:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// describe is the job as Auth0 shows it.
func (j *job) describe(status string) map[string]any {
	shown := maps.Clone(j.request)
	maps.Copy(shown, map[string]any{"type": "users_export", "status": status, "created_at": stamp(j.made), "id": j.id})
	return shown
}

// build writes the file of users as they are now.
func (t *Tenant) build(j *job, e export) {
	file := t.exported(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	j.file = file
	close(j.built)
	t.inFlight--
	t.idle.Broadcast()
}

func (t *Tenant) serveJob(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	j, now, faults := t.jobs[r.PathValue("id")], t.now(), t.faults
	t.mu.Unlock()
	if j == nil || now.Sub(j.made) > jobKept {
		apiError(w, http.StatusNotFound, "Not Found", "The job does not exist.", "inexistent_job")
		return
	}
	left := t.o.ExportTakes - now.Sub(j.made)
	if left <= 0 && !j.isBuilt() {
		left = time.Second // however the clock moved
	}
	switch {
	case faults.FailExports:
		writeJSON(w, http.StatusOK, j.describe("failed"))
	case faults.EndlessExports || left > t.o.ExportTakes/2:
		writeJSON(w, http.StatusOK, j.describe("pending"))
	case left > 0:
		shown := j.describe("processing")
		shown["percentage_done"] = int(100 * (1 - left.Seconds()/t.o.ExportTakes.Seconds()))
		shown["time_left_seconds"] = int(left.Seconds())
		writeJSON(w, http.StatusOK, shown)
	default:
		shown := j.describe("completed")
		shown["percentage_done"] = 100
		shown["location"] = t.link(j)
		writeJSON(w, http.StatusOK, shown)
	}
}

// link hands out a link to the file that is its own permission, for a minute.
func (t *Tenant) link(j *job) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	signature := randomHex(16)
	j.links[signature] = t.now().Add(linkKept)
	return t.baseURL + "/users-exports/" + j.id + "/" + t.o.Domain + ".json.gz?X-Amz-Signature=" + signature
}

// serveFile gives a job's file to whoever has a link that is still good. What
// lies there is not Auth0 but a store of files, which answers in its own way and
// takes no second authorization beside the link's.
func (t *Tenant) serveFile(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	j, now := t.jobs[r.PathValue("job")], t.now()
	good := j != nil && now.Before(j.links[r.URL.Query().Get("X-Amz-Signature")])
	t.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		storeError(w, http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed")
	case !good:
		storeError(w, http.StatusForbidden, "AccessDenied", "Request has expired")
	default:
		w.Header().Set("Content-Type", "application/gzip")
		_, _ = w.Write(j.file) // the client is gone
	}
}

func storeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"))
}
