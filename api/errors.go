package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

// failure is an answer that is not a success: its status, its code from the
// closed list, and what it says. Handlers return it; respond writes it.
type failure struct {
	status  int
	code    string
	message string
	field   string // the member, parameter or header at fault; "" if none
	cause   error  // for the log alone
}

// Error implements error. It is for the log: clients see message.
func (f *failure) Error() string {
	if f.cause == nil {
		return f.code
	}
	return f.code + ": " + f.cause.Error()
}

// Unwrap implements error.
func (f *failure) Unwrap() error { return f.cause }

// fail makes a failure out of the closed list.
func fail(code string) *failure {
	entry, ok := codes[code]
	if !ok {
		entry = codes[codeInternal]
		code = codeInternal
	}
	return &failure{status: entry.status, code: code, message: entry.message}
}

// about names the field at fault.
func (f *failure) about(field string) *failure {
	f.field = field
	return f
}

// saying replaces the list's general sentence by a more exact one.
func (f *failure) saying(message string) *failure {
	f.message = message
	return f
}

// because keeps the cause for the log.
func (f *failure) because(err error) *failure {
	f.cause = err
	return f
}

// Codes with more than one user.
const (
	codeInternal    = "internal"
	codeUnavailable = "unavailable"
	codeNotFound    = "customer_not_found"
	codeForbidden   = "forbidden"
)

// codes is the closed list of error codes. openapi.yaml lists the same, held
// true by a test.
var codes = map[string]struct {
	status  int
	message string
}{
	"app_id_missing":              {403, "The header ahiko-app-id is missing."},
	"app_id_malformed":            {403, "The header ahiko-app-id must be one key of 32 letters and digits."},
	"app_id_unknown":              {403, "The key in ahiko-app-id is not known or was revoked."},
	"token_missing":               {403, "The header Authorization must be: Bearer, a space, and an access token."},
	"token_expired":               {403, "The access token has expired."},
	"token_audience":              {403, "The access token is for another API."},
	"token_invalid":               {403, "The access token is not valid."},
	codeForbidden:                 {403, "The access token does not permit this."},
	"webhook_forbidden":           {403, "The delivery is not signed by a secret, or does not bear a token, that is known here."},
	"not_found":                   {404, "There is nothing at this path."},
	codeNotFound:                  {404, "There is no such customer."},
	"feed_ahead":                  {410, "The feed has not come to this place: its database was set back, from a backup perhaps. List the customers, and read the feed anew."},
	"method_not_allowed":          {405, "This path does not take this method; Allow lists those it takes."},
	"invalid_query":               {400, "The query is not understood."},
	"invalid_email_address":       {400, "The e-mail address in the query is not valid."},
	"email_address_required":      {400, "The query must name the customer by email_address."},
	"invalid_header":              {400, "A header is not understood."},
	"invalid_json":                {400, "The body must be one JSON object."},
	"unknown_member":              {400, "The body has a member that is not known or cannot be set."},
	"exactly_one_field":           {400, "The body must have exactly one of first_name, last_name and auth_user_id."},
	"body_too_large":              {413, "The body is too large."},
	"unsupported_media_type":      {415, "The body must be application/json in UTF-8, without encoding."},
	"invalid_field":               {422, "A field has a value that is not accepted."},
	"email_mismatch":              {422, "The e-mail address is not that of the access token."},
	"idempotency_key_reused":      {422, "This Idempotency-Key was used with another request."},
	"idempotency_key_in_progress": {409, "A request with this Idempotency-Key is still under way."},
	"email_taken":                 {409, "Another customer has this e-mail address."},
	"auth_user_id_taken":          {409, "Another customer is linked to this Auth0 user."},
	"customer_erased":             {409, "The person was erased after this access token was issued. One of a new sign-in makes a new customer."},
	"customer_inactive":           {409, "The customer is closed and does not change any more."},
	"not_in_conflict":             {409, "The customer is not in conflict, or not any more."},
	"precondition_failed":         {412, "The customer is not as If-Match says."},
	"auth0_refuses":               {501, "Auth0 does not let this service delete users: its application lacks delete:users. Nothing was erased."},
	"auth0_unavailable":           {503, "Auth0 cannot be asked just now. Nothing was erased. Try again after the time in Retry-After."},
	"erase_not_set_up":            {501, "Customers cannot be erased here: the setting CUSTOMERSYNC_ERASE_KEYS is missing."},
	codeInternal:                  {500, "Something went wrong here. The request_id helps to find out what."},
	codeUnavailable:               {503, "The service cannot answer just now. Try again after the time in Retry-After."},
	"auth_unavailable":            {503, "Access tokens cannot be verified just now. Try again after the time in Retry-After."},
	"userinfo_unavailable":        {503, "The e-mail address behind the access token cannot be asked for just now. Try again after the time in Retry-After."},
}

// toFailure maps every error to an answer. It is the one place that does.
func toFailure(err error) *failure {
	var f *failure
	var field customer.FieldError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &field):
		return fail("invalid_field").about(field.Field).saying(field.Error() + ".")
	case errors.Is(err, customer.ErrNotFound):
		return fail(codeNotFound)
	case errors.Is(err, customer.ErrEmailTaken):
		return fail("email_taken")
	case errors.Is(err, customer.ErrAuthUserTaken):
		return fail("auth_user_id_taken")
	case errors.Is(err, customer.ErrInactive):
		return fail("customer_inactive")
	case errors.Is(err, customer.ErrNoConflict):
		return fail("not_in_conflict")
	case errors.Is(err, customer.ErrAuth0Refuses):
		return fail("auth0_refuses").because(err)
	case errors.Is(err, customer.ErrAuth0Away):
		return fail("auth0_unavailable").because(err)
	case errors.Is(err, customer.ErrErased):
		return fail("customer_erased")
	case errors.Is(err, customer.ErrNoEraseKey):
		return fail("erase_not_set_up")
	case errors.Is(err, customer.ErrFeedAhead):
		return fail("feed_ahead").about("after")
	case errors.Is(err, customer.ErrStale):
		return fail("precondition_failed")
	case errors.Is(err, customer.ErrKeyReused):
		return fail("idempotency_key_reused")
	case errors.Is(err, customer.ErrKeyInFlight):
		return fail("idempotency_key_in_progress")
	case errors.Is(err, customer.ErrForged):
		return fail("webhook_forbidden").because(err)
	case errors.Is(err, customer.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fail(codeUnavailable).because(err)
	}
	return fail(codeInternal).because(err)
}

// retryAfter is what 503 answers suggest, in seconds.
const retryAfter = "2"

// errorBody is the one shape of all errors (R5).
type errorBody struct {
	Success bool `json:"success"`
	Error   struct {
		Code      string  `json:"code"`
		Message   string  `json:"message"`
		Field     *string `json:"field"`
		RequestID string  `json:"request_id"`
	} `json:"error"`
}

// writeFailure answers with an error.
func writeFailure(w http.ResponseWriter, f *failure, requestID string) {
	var body errorBody
	body.Error.Code, body.Error.Message, body.Error.RequestID = f.code, f.message, requestID
	if f.field != "" {
		body.Error.Field = &f.field
	}
	h := w.Header()
	switch f.status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	case http.StatusForbidden:
		if challenge, ok := challenges[f.code]; ok {
			h.Set("WWW-Authenticate", challenge)
		}
	}
	h.Del("ETag")
	writeJSON(w, f.status, body)
}

// challenges say what is wrong with a token, as RFC 6750 section 3 has it (R3).
var challenges = map[string]string{ //nolint:gosec // no credentials, their absence
	"app_id_missing":   `Bearer error="invalid_request"`,
	"app_id_malformed": `Bearer error="invalid_request"`,
	"app_id_unknown":   `Bearer error="invalid_request"`,
	"token_missing":    `Bearer error="invalid_request"`,
	"token_expired":    `Bearer error="invalid_token"`,
	"token_audience":   `Bearer error="invalid_token"`,
	"token_invalid":    `Bearer error="invalid_token"`,
	codeForbidden:      `Bearer error="insufficient_scope"`,
}

func jsonHeader(h http.Header) {
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	jsonHeader(w.Header())
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client is gone
}

// logFailure is where causes go. A client's own mistakes are no errors of ours.
func (s *Server) logFailure(f *failure, requestID string) {
	s.metrics.failures.WithLabelValues(f.code).Inc()
	if f.cause == nil {
		return
	}
	level := s.log.Info
	if f.status >= 500 {
		level = s.log.Error
	}
	level("request failed", zap.String("request_id", requestID), zap.String("code", f.code), zap.Error(f.cause))
}
