package auth0sim

import (
	"encoding/json"
	"errors"
	"net/http"
)

// largestBody of a request, in bytes.
const largestBody = 1 << 20

func writeJSON(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client is gone
}

// apiError is an error in the Management API's shape; code may be empty.
func apiError(w http.ResponseWriter, status int, name, message, code string) {
	body := map[string]any{"statusCode": status, "error": name, "message": message}
	if code != "" {
		body["errorCode"] = code
	}
	writeJSON(w, status, body)
}

func badRequest(w http.ResponseWriter, message, code string) {
	apiError(w, http.StatusBadRequest, "Bad Request", message, code)
}

// What a change of a user may fail with, in Auth0's words.
var (
	errNoUser       = errors.New("The user does not exist.")       //nolint:staticcheck // Auth0's words
	errExists       = errors.New("The user already exists.")       //nolint:staticcheck // Auth0's words
	errNoConnection = errors.New("The connection does not exist.") //nolint:staticcheck // Auth0's words
)

func userError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errExists):
		apiError(w, http.StatusConflict, "Conflict", errExists.Error(), "auth0_idp_error")
	case errors.Is(err, errNoConnection):
		badRequest(w, errNoConnection.Error(), "inexistent_connection")
	default:
		apiError(w, http.StatusNotFound, "Not Found", errNoUser.Error(), "inexistent_user")
	}
}

// readBody decodes a JSON body, or answers 400.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestBody)).Decode(into); err != nil {
		badRequest(w, "Payload validation error: 'Invalid JSON'.", "invalid_body")
		return false
	}
	return true
}
