package auth0sim

import "net/http"

// serveExport takes an export job on. It stays pending: the file itself is not
// simulated.
func (t *Tenant) serveExport(w http.ResponseWriter, r *http.Request) {
	job := map[string]any{}
	if !readBody(w, r, &job) {
		return
	}
	if id, ok := job["connection_id"]; ok {
		for _, c := range connections() {
			if c.id == id {
				job["connection"] = c.name
			}
		}
		if job["connection"] == nil {
			badRequest(w, errNoConnection.Error(), "inexistent_connection")
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := "job_" + randomHex(8)
	job["type"], job["status"], job["created_at"], job["id"] = "users_export", "pending", stamp(t.now()), id
	t.jobs[id] = job
	writeJSON(w, http.StatusOK, job)
}

func (t *Tenant) serveJob(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	job, ok := t.jobs[r.PathValue("id")]
	if !ok {
		apiError(w, http.StatusNotFound, "Not Found", "The job does not exist.", "inexistent_job")
		return
	}
	writeJSON(w, http.StatusOK, job)
}
