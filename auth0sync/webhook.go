package auth0sync

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// Sources of deliveries.
const (
	SourceAction      = "action"       // our Actions in deploy/auth0
	SourceEventStream = "event_stream" // Auth0 Event Streams, pushed or read from the feed
	SourceLogStream   = "log_stream"   // Auth0 log streams
	SourceLogTail     = "log_tail"     // the tenant's log, read by us
)

// Verifier tells authentic deliveries from forged ones.
type Verifier struct {
	secrets [][]byte   // of Standard Webhooks signatures
	tokens  [][32]byte // SHA-256 of the bearer tokens
	logs    [][32]byte // SHA-256 of the log streams' tokens
	now     func() time.Time
}

const (
	leastSecret = 24 // bytes, as Standard Webhooks asks
	leastToken  = 16 // characters
	secretMark  = "whsec_"
	// largestAction is what our Actions post at most, and more: a few members of a
	// user. Who signed it is only known once it is read, so it must be small.
	largestAction = 64 << 10 // bytes
	// largestStream is what a stream posts: an event has a profile twice, and Auth0
	// keeps profiles below 1 MB.
	largestStream = 2 << 20 // bytes
	// mostSignatures a delivery may list: a sender that changes its secret has two.
	mostSignatures = 16
	// tolerance is how far a signed timestamp may be from now, either way.
	tolerance = 5 * time.Minute
)

// Secrets are what deliveries are verified by. All of a list are valid at once, so
// that one can be replaced by another. Without any, that kind of delivery is forged.
type Secrets struct {
	Actions      []string // "whsec_" and base64: what our Actions sign with
	EventStreams []string // bearer tokens
	LogStreams   []string // bearer tokens
}

// NewVerifier checks the secrets.
func NewVerifier(s Secrets, now func() time.Time) (*Verifier, error) {
	v := &Verifier{now: now}
	for i, s := range s.Actions {
		text, marked := strings.CutPrefix(s, secretMark)
		secret, err := base64.StdEncoding.DecodeString(text)
		if !marked || err != nil || len(secret) < leastSecret {
			return nil, fmt.Errorf("secret %d: expected %s and at least %d bytes in base64", i+1, secretMark, leastSecret)
		}
		v.secrets = append(v.secrets, secret)
	}
	var err error
	if v.tokens, err = hashes(s.EventStreams); err != nil {
		return nil, err
	}
	v.logs, err = hashes(s.LogStreams)
	return v, err
}

func hashes(tokens []string) ([][32]byte, error) {
	var all [][32]byte
	for i, token := range tokens {
		if len(token) < leastToken {
			return nil, fmt.Errorf("token %d: expected at least %d characters", i+1, leastToken)
		}
		all = append(all, sha256.Sum256([]byte(token)))
	}
	return all, nil
}

// Admit says by its headers alone how many bytes of body a delivery may have. Its
// error is customer.ErrForged: that one need not be read at all.
func (v *Verifier) Admit(h http.Header) (largest int64, err error) {
	if h.Get("Webhook-Signature") != "" {
		_, _, err := v.signedHeaders(h)
		return largestAction, err
	}
	_, err = v.verifyToken(h)
	return largestStream, err
}

// Verify returns what an authentic delivery says: one thing, but for log streams,
// which send many at once, or none that matters. What is authentic but not
// understood comes back with Understood false. All errors are customer.ErrForged.
func (v *Verifier) Verify(h http.Header, body []byte) ([]customer.Delivery, error) {
	if h.Get("Webhook-Signature") != "" {
		id, err := v.verifySignature(h, body)
		if err != nil {
			return nil, err
		}
		return []customer.Delivery{readAction(id, body)}, nil
	}
	source, err := v.verifyToken(h)
	switch {
	case err != nil:
		return nil, err
	case source == SourceLogStream:
		return readLogStream(body), nil
	}
	return []customer.Delivery{readEvent(body)}, nil
}

func forged(why string) error { return fmt.Errorf("%w: %s", customer.ErrForged, why) }

// verifySignature checks by Standard Webhooks and returns the delivery's id.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func (v *Verifier) verifySignature(h http.Header, body []byte) (string, error) {
	id, signatures, err := v.signedHeaders(h)
	if err != nil {
		return "", err
	}
	sums := v.sums(id, h.Get("Webhook-Timestamp"), body)
	for _, signature := range signatures {
		text, ok := strings.CutPrefix(signature, "v1,")
		given, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && slices.ContainsFunc(sums, func(sum []byte) bool { return hmac.Equal(sum, given) }) {
			return id, nil
		}
	}
	return "", forged("no signature is valid")
}

// signedHeaders are the id and the signatures of a delivery, if its headers are such
// as a signed one has.
func (v *Verifier) signedHeaders(h http.Header) (id string, signatures []string, err error) {
	id = h.Get("Webhook-Id")
	signatures = strings.Fields(h.Get("Webhook-Signature"))
	seconds, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	switch {
	case !isEventID(id):
		return "", nil, forged("webhook-id is missing or not an id")
	case err != nil:
		return "", nil, forged("webhook-timestamp is not a number")
	case len(signatures) > mostSignatures:
		return "", nil, forged("too many signatures")
	}
	if age := v.now().Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return "", nil, forged("webhook-timestamp is too old or too new")
	}
	return id, signatures, nil
}

// sums are what the delivery is signed with by each secret. They are made once:
// a stranger's list of signatures must not have a large body hashed for each.
func (v *Verifier) sums(id, stamp string, body []byte) (all [][]byte) {
	for _, secret := range v.secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, stamp) // a hash never fails
		_, _ = mac.Write(body)
		all = append(all, mac.Sum(nil))
	}
	return all
}

// verifyToken says which kind of stream a bearer token is of. A log stream sends
// what it is told to as the whole header, so the word "Bearer" may be missing.
// https://auth0.com/docs/customize/log-streams/custom-log-streams
func (v *Verifier) verifyToken(h http.Header) (source string, err error) {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	switch {
	case scheme != "" && isOneOf(h.Get("Authorization"), v.logs):
		return SourceLogStream, nil
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", forged("neither a signature nor a bearer token")
	}
	switch {
	case isOneOf(token, v.tokens):
		return SourceEventStream, nil
	case isOneOf(token, v.logs):
		return SourceLogStream, nil
	}
	return "", forged("bearer token is not one of ours")
}

// isOneOf takes the same time whether it is or not.
func isOneOf(token string, hashes [][32]byte) bool {
	hash, valid := sha256.Sum256([]byte(token)), 0
	for _, known := range hashes {
		valid |= subtle.ConstantTimeCompare(hash[:], known[:])
	}
	return valid == 1
}

const longestID = 255 // bytes of an event id, and of a user id here

// isEventID accepts short printable ASCII.
func isEventID(s string) bool {
	return s != "" && len(s) <= longestID && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// readAction reads what the Actions in deploy/auth0 post.
func readAction(id string, body []byte) customer.Delivery {
	var action struct {
		Type string      `json:"type"`
		User userPayload `json:"user"`
	}
	err := decode(body, &action)
	hint, ok := action.User.hint()
	if err != nil || !ok || action.Type != "post-user-registration" && action.Type != "post-login" {
		return quarantined(SourceAction, id, body)
	}
	return customer.Delivery{Source: SourceAction, EventID: id, Kind: action.Type, Hint: hint, Understood: true}
}

// readEvent reads a CloudEvent of an Event Stream.
// https://auth0.com/docs/customize/events/event-types
func readEvent(body []byte) customer.Delivery {
	var event struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		Data struct {
			Object userPayload `json:"object"`
		} `json:"data"`
	}
	err := decode(body, &event)
	if err != nil || !isEventID(event.ID) {
		return quarantined(SourceEventStream, digest(body), body)
	}
	hint, ok := event.Data.Object.hint()
	switch {
	case !ok:
		return quarantined(SourceEventStream, event.ID, body)
	case event.Type == "user.created" || event.Type == "user.updated":
	case event.Type == "user.deleted":
		hint.Deleted = true
	default:
		return quarantined(SourceEventStream, event.ID, body)
	}
	return customer.Delivery{Source: SourceEventStream, EventID: event.ID, Kind: event.Type, Hint: hint, Understood: true}
}

func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("not UTF-8")
	}
	return json.Unmarshal(body, into)
}

// digest stands in for the id of a delivery that has none.
func digest(body []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(body)) }

func quarantined(source, id string, body []byte) customer.Delivery {
	return customer.Delivery{Source: source, EventID: id, Body: body}
}

// userPayload is the user in a delivery.
type userPayload struct {
	UserID        string          `json:"user_id"`
	Email         string          `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
	AppMetadata   json.RawMessage `json:"app_metadata"`
	Identities    json.RawMessage `json:"identities"`
}

// UnmarshalJSON reads the members with just these names.
func (u *userPayload) UnmarshalJSON(text []byte) error {
	type plain userPayload
	return exactly(text, (*plain)(u), "user_id", "email", "email_verified", "app_metadata", "identities")
}

// mostIdentities of one user are taken note of.
const mostIdentities = 50

// secondaries are the user ids that the linked identities had when they were
// users of their own.
func (u userPayload) secondaries() []string {
	var all []identityJSON
	if json.Unmarshal(u.Identities, &all) != nil {
		return nil // the rest of the delivery is as good without
	}
	var ids []string
	for _, i := range all {
		id := i.identity().userID()
		if id == u.UserID || len(id) > longestID || hasControl(id) || len(ids) == mostIdentities {
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// hint is what the user amounts to; ok is false if it cannot be one.
func (u userPayload) hint() (h customer.Hint, ok bool) {
	if u.UserID == "" || len(u.UserID) > longestID || hasControl(u.UserID) || len(u.Email) > longestID || hasControl(u.Email) {
		return customer.Hint{}, false
	}
	h = customer.Hint{
		AuthUserID: u.UserID,
		Email:      u.Email,
		Verified:   isTrue(u.EmailVerified),
		CustomerID: customerIDIn(u.AppMetadata),
		Identities: u.secondaries(),
	}
	if email, err := customer.ParseEmail(u.Email); err == nil {
		h.Key = email.Key
	}
	return h, true
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
