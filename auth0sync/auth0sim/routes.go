package auth0sim

import (
	"net/http"
	"slices"
)

// route is an endpoint of Auth0's surface.
type route struct {
	pattern string
	scope   string   // needed of a Management API token, one of those with blanks between; "" for routes outside it
	group   string   // of the rate limit
	params  []string // that its query may have; Auth0 refuses others
	serve   func(*Tenant, http.ResponseWriter, *http.Request)
}

func endpoints() []route {
	fields := []string{"fields", "include_fields"}
	paged := append([]string{"page", "per_page", "include_totals"}, fields...)
	deliveryFilters := []string{"statuses", "event_types", "date_from", "date_to", "from", "take"}
	const readDeliveries = "read:event_deliveries read:event_streams"
	return []route{
		{"GET /.well-known/openid-configuration", "", "", nil, (*Tenant).serveDiscovery},
		{"GET /.well-known/jwks.json", "", "", nil, (*Tenant).serveJWKS},
		{"POST /oauth/token", "", "", nil, (*Tenant).serveToken},
		{"GET /authorize", "", "", nil, (*Tenant).serveAuthorize},
		{"GET /u/login", "", "", nil, (*Tenant).serveLoginPage},
		{"POST /u/login", "", "", nil, (*Tenant).serveLogin},
		{"GET /v2/logout", "", "", nil, (*Tenant).serveLogout},
		{"GET /userinfo", "", "", nil, (*Tenant).serveUserInfo},
		{"GET /api/v2/users", "read:users", readUsers, append([]string{"q", "sort", "connection", "search_engine", "primary_order"}, paged...), (*Tenant).serveSearch},
		{"POST /api/v2/users", "create:users", writeUsers, nil, (*Tenant).serveCreateUser},
		// Auth0 does not say which bucket this one draws from: the smaller is assumed.
		{"GET /api/v2/users-by-email", "read:users", others, append([]string{"email"}, fields...), (*Tenant).serveByEmail},
		{"GET /api/v2/users/{id}", "read:users", readUsers, fields, (*Tenant).serveGetUser},
		{"PATCH /api/v2/users/{id}", "update:users", writeUsers, nil, (*Tenant).servePatchUser},
		{"DELETE /api/v2/users/{id}", "delete:users", deleteUsers, nil, (*Tenant).serveDeleteUser},
		{"POST /api/v2/users/{id}/identities", "update:users", writeUsers, nil, (*Tenant).serveLink},
		{"DELETE /api/v2/users/{id}/identities/{provider}/{user_id}", "update:users", writeUsers, nil, (*Tenant).serveUnlink},
		{"GET /api/v2/connections", "read:connections", others, append([]string{"name", "strategy", "domain_alias", "from", "take"}, paged...), (*Tenant).serveConnections},
		{"GET /api/v2/logs", "read:logs", readLogs, append([]string{"q", "sort", "search", "from", "take"}, paged...), (*Tenant).serveLogs},
		{"GET /api/v2/events", "read:events", feeds, []string{"from", "from_timestamp", "event_type"}, withEvents((*Tenant).serveEvents)},
		{"GET /api/v2/event-streams", "read:event_streams", others, []string{"from", "take"}, withEvents((*Tenant).serveStreams)},
		{"POST /api/v2/event-streams", "create:event_streams", others, nil, withEvents((*Tenant).serveCreateStream)},
		{"GET /api/v2/event-streams/{id}", "read:event_streams", others, nil, withEvents(onStream((*Tenant).serveStream))},
		{"PATCH /api/v2/event-streams/{id}", "update:event_streams", others, nil, withEvents(onStream((*Tenant).servePatchStream))},
		{"DELETE /api/v2/event-streams/{id}", "delete:event_streams", others, nil, withEvents((*Tenant).serveDeleteStream)},
		{"GET /api/v2/event-streams/{id}/deliveries", readDeliveries, others, deliveryFilters, withEvents(onStream((*Tenant).serveDeliveries))},
		{"GET /api/v2/event-streams/{id}/deliveries/{event}", readDeliveries, others, nil, withEvents(onStream((*Tenant).serveDelivery))},
		{"POST /api/v2/event-streams/{id}/redeliver", "update:event_deliveries", others, nil, withEvents(onStream((*Tenant).serveRedeliverMany))},
		{"POST /api/v2/event-streams/{id}/redeliver/{event}", "update:event_deliveries", others, nil, withEvents(onStream((*Tenant).serveRedeliver))},
		{"POST /api/v2/event-streams/{id}/test", "update:event_streams", others, nil, withEvents(onStream((*Tenant).serveTestStream))},
		{"GET /api/v2/actions/actions", "read:actions", others, []string{"actionName", "triggerId", "page", "per_page"}, (*Tenant).serveActions},
		{"POST /api/v2/actions/actions", "create:actions", others, nil, (*Tenant).serveCreateAction},
		{"GET /api/v2/actions/actions/{id}", "read:actions", others, nil, onAction((*Tenant).serveAction)},
		{"PATCH /api/v2/actions/actions/{id}", "update:actions", others, nil, onAction((*Tenant).servePatchAction)},
		{"DELETE /api/v2/actions/actions/{id}", "delete:actions", others, []string{"force"}, onAction((*Tenant).serveDeleteAction)},
		{"POST /api/v2/actions/actions/{id}/deploy", "create:actions", others, nil, onAction((*Tenant).serveDeployAction)},
		{"GET /api/v2/actions/triggers", "read:actions", others, nil, (*Tenant).serveTriggers},
		{"GET /api/v2/actions/triggers/{trigger}/bindings", "read:actions", others, []string{"page", "per_page"}, onTrigger((*Tenant).serveBindings)},
		{"PATCH /api/v2/actions/triggers/{trigger}/bindings", "update:actions", others, nil, onTrigger((*Tenant).serveBind)},
		{"GET /api/v2/log-streams", "read:log_streams", others, nil, (*Tenant).serveLogStreams},
		{"POST /api/v2/log-streams", "create:log_streams", others, nil, (*Tenant).serveCreateLogStream},
		{"DELETE /api/v2/log-streams/{id}", "delete:log_streams", others, nil, (*Tenant).serveDeleteLogStream},
		{"POST /api/v2/jobs/users-exports", "read:users", others, nil, (*Tenant).serveExport},
		{"GET /api/v2/jobs/{id}", "read:users", others, nil, (*Tenant).serveJob},
		{"GET /users-exports/{job}/{file}", "", "", nil, (*Tenant).serveFile},
	}
}

func (t *Tenant) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range endpoints() {
		mux.Handle(r.pattern, t.auth0(r))
	}
	t.control(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiError(w, http.StatusNotFound, "Not Found", "Not Found", "")
	})
	return mux
}

// ServeHTTP implements http.Handler.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	if t.baseURL == "" {
		t.baseURL = "http://" + r.Host
	}
	w.Header().Set("Date", t.now().Format(http.TimeFormat))
	t.mu.Unlock()
	t.mux.ServeHTTP(w, r)
}

// auth0 is a route with all that Auth0 puts before it: counting, faults, length
// of the URL, rate limit, token, scope, query parameters.
func (t *Tenant) auth0(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fault := t.count(r)
		if len(req.RequestURI) > t.o.MaxURL {
			w.WriteHeader(http.StatusRequestURITooLong)
			return
		}
		w, done := fault.dress(w)
		defer done()
		if r.scope != "" && !(t.limit(w, r.group) && t.authorise(w, req, r.scope) && r.knows(w, req)) {
			return
		}
		if t.strike(fault, w, req) {
			return
		}
		r.serve(t, w, req)
	})
}

// knows refuses query parameters that Auth0 does not have.
func (r route) knows(w http.ResponseWriter, req *http.Request) bool {
	for name := range req.URL.Query() {
		if !slices.Contains(r.params, name) {
			badRequest(w, "Query validation error: 'Additional properties not allowed: "+name+"'.", "invalid_query_string")
			return false
		}
	}
	return true
}
