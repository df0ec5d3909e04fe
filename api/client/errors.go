package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Error is an answer of the API that is not a success.
type Error struct {
	Status    int
	Code      Code   // "" if the answer is not of the API, but of a proxy before it
	Message   string // for people
	Field     string // the member, parameter or header at fault; "" if none
	RequestID string // by which the log of customersync knows the call
	// RetryAfter is how long the API asks to wait before the next try; 0 if it does not.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("customersync: %s (status %d", e.Message, e.Status)
	for _, one := range []struct{ what, value string }{{"code", string(e.Code)}, {"field", e.Field}, {"request", e.RequestID}} {
		if one.value != "" {
			text += ", " + one.what + " " + one.value
		}
	}
	return text + ")"
}

// Is tells whether target is the error's Code, so that
// errors.Is(err, ErrEmailTaken) is what one asks.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code != "" && code == e.Code
}

// Code is one of the closed list of error codes in openapi.yaml. It is an error to
// be asked for by errors.Is.
type Code string

// Error implements error.
func (c Code) Error() string { return "customersync: " + string(c) }

// ErrNotModified is what a call with IfNoneMatch comes to if nothing has changed.
var ErrNotModified = errors.New("customersync: not modified")

// The codes of the API's errors.
const (
	ErrAppIDMalformed           Code = "app_id_malformed"
	ErrAppIDMissing             Code = "app_id_missing"
	ErrAppIDUnknown             Code = "app_id_unknown" // or revoked
	ErrAuth0Refuses             Code = "auth0_refuses"  // to delete the user; nothing was erased
	ErrAuth0Unavailable         Code = "auth0_unavailable"
	ErrAuthUnavailable          Code = "auth_unavailable" // tokens cannot be verified just now
	ErrAuthUserIDTaken          Code = "auth_user_id_taken"
	ErrBodyTooLarge             Code = "body_too_large"
	ErrCustomerErased           Code = "customer_erased" // after the token was issued
	ErrCustomerInactive         Code = "customer_inactive"
	ErrCustomerNotFound         Code = "customer_not_found" // or of somebody else
	ErrEmailAddressRequired     Code = "email_address_required"
	ErrEmailMismatch            Code = "email_mismatch" // with that of the token
	ErrEmailTaken               Code = "email_taken"
	ErrEraseNotSetUp            Code = "erase_not_set_up"
	ErrExactlyOneField          Code = "exactly_one_field"
	ErrFeedAhead                Code = "feed_ahead" // the place is of another life of the database
	ErrForbidden                Code = "forbidden"
	ErrIdempotencyKeyInProgress Code = "idempotency_key_in_progress"
	ErrIdempotencyKeyReused     Code = "idempotency_key_reused" // with another request
	ErrInternal                 Code = "internal"
	ErrInvalidEmailAddress      Code = "invalid_email_address"
	ErrInvalidField             Code = "invalid_field"
	ErrInvalidHeader            Code = "invalid_header"
	ErrInvalidJSON              Code = "invalid_json"
	ErrInvalidQuery             Code = "invalid_query"
	ErrMethodNotAllowed         Code = "method_not_allowed"
	ErrNotFound                 Code = "not_found" // the path, not the customer
	ErrNotInConflict            Code = "not_in_conflict"
	ErrPreconditionFailed       Code = "precondition_failed"
	ErrTokenAudience            Code = "token_audience"
	ErrTokenExpired             Code = "token_expired"
	ErrTokenInvalid             Code = "token_invalid"
	ErrTokenMissing             Code = "token_missing"
	ErrUnavailable              Code = "unavailable"
	ErrUnknownMember            Code = "unknown_member"
	ErrUnsupportedMediaType     Code = "unsupported_media_type"
	ErrUserinfoUnavailable      Code = "userinfo_unavailable"
	ErrWebhookForbidden         Code = "webhook_forbidden"
)

// largestError bounds what is read of an error: it may come from anything that is on the way.
const largestError = 64 << 10 // bytes

// refusal is the error that an answer is.
func refusal(res *http.Response) error {
	if res.StatusCode == http.StatusNotModified {
		return ErrNotModified
	}
	var body struct {
		Error struct {
			Code      Code   `json:"code"`
			Message   string `json:"message"`
			Field     string `json:"field"`
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, largestError))
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	e := &Error{Status: res.StatusCode, RequestID: res.Header.Get("X-Request-Id"), RetryAfter: retryAfter(res.Header)}
	if err != nil || body.Error.Code == "" {
		e.Message = "an answer that is not of the API: " + http.StatusText(res.StatusCode)
		return e
	}
	e.Code, e.Message, e.Field, e.RequestID = body.Error.Code, body.Error.Message, body.Error.Field, body.Error.RequestID
	return e
}
