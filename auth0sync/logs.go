package auth0sync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// logsAtOnce is the most log entries one call gives.
const logsAtOnce = 100

// LogPage is a part of the tenant's log.
type LogPage struct {
	Deliveries []customer.Delivery // those entries that say something of users
	Cursor     string              // to go on behind them
	More       bool                // there are more already
}

// Logs reads the tenant's log from behind a cursor, or with "" only says where it
// ends now. ErrCursor means that the cursor is too old; ErrForbidden that the
// scope read:logs is missing.
//
// Entries come in no order of time, but a page is all there is behind its cursor,
// up to its size, by log_id: so the greatest of them is where to go on, in
// whatever order the page has them. An entry without an id is left out, since it
// would stop the lane for good; a page with none but such is an error.
// https://auth0.com/docs/deploy-monitor/logs/retrieve-log-events-using-mgmt-api
func (d *Directory) Logs(ctx context.Context, cursor string) (LogPage, error) {
	query := url.Values{"from": {cursor}, "take": {strconv.Itoa(logsAtOnce)}}
	if cursor == "" {
		query = url.Values{"page": {"0"}, "per_page": {"1"}, "sort": {"date:-1"}}
	}
	var entries []json.RawMessage
	if _, err := d.get(ctx, []string{"logs"}, query, &entries); err != nil {
		if errors.Is(err, errBadRequest) && cursor != "" {
			return LogPage{}, fmt.Errorf("logs: %w", ErrCursor)
		}
		return LogPage{}, fmt.Errorf("logs: %w", err)
	}
	page := LogPage{Cursor: cursor, More: len(entries) == logsAtOnce}
	read := 0
	for _, raw := range entries {
		entry, err := readLog(SourceLogTail, raw)
		if err != nil {
			continue
		}
		read++
		page.Cursor = laterLog(page.Cursor, entry.EventID)
		if cursor != "" && entry.Understood {
			page.Deliveries = append(page.Deliveries, oncePerUser(entry))
		}
	}
	if read == 0 && len(entries) > 0 {
		return LogPage{}, fmt.Errorf("logs: %w: entries without an id", ErrUnavailable)
	}
	return page, nil
}

// laterLog is the greater of two ids of log entries. They are numbers of many
// digits that begin with the time.
func laterLog(a, b string) string {
	if len(a) > len(b) || len(a) == len(b) && a > b {
		return a
	}
	return b
}

// oncePerUser makes all logins of a user one delivery. Only the first is news, as
// the sign-up of those who have no entry of their own for that, and nothing tells
// which that is: so each user costs a row, and a question to Auth0 where the entry
// has no address, once until the inbox forgets it, however often they log in.
func oncePerUser(d customer.Delivery) customer.Delivery {
	if d.Kind == kindLogin {
		d.EventID = "login:" + digest([]byte(d.Hint.AuthUserID))
	}
	return d
}

// logEntry is an entry of the tenant's log, as far as it is about users.
type logEntry struct {
	ID       string `json:"log_id"`
	Type     string `json:"type"`
	UserID   string `json:"user_id"`
	UserName string `json:"user_name"` // the address, where the user has no other name
	Details  struct {
		Body struct {
			Email    string          `json:"email"`
			Verified json.RawMessage `json:"email_verified"`
		} `json:"body"`
		Request struct {
			Method string `json:"method"`
			Path   string `json:"path"`
		} `json:"request"`
	} `json:"details"`
}

var errNoLogID = errors.New("a log entry without an id")

// kindLogin is the type of a successful login.
const kindLogin = "s"

// readLog reads an entry. It is Understood if it may concern a customer: sign-ups
// and changes of users. A login (s) counts as a sign-up only of those who never
// appear as ss, through social and enterprise connections.
// https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes
func readLog(source string, raw json.RawMessage) (customer.Delivery, error) {
	var e logEntry
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, &e); err != nil && !errors.As(err, &wrong) || !isEventID(e.ID) {
		return customer.Delivery{}, errNoLogID
	}
	d := customer.Delivery{Source: source, EventID: e.ID, Kind: e.Type}
	user := userPayload{UserID: e.UserID, Email: e.Details.Body.Email}
	switch e.Type {
	case "ss", "sv", "sce", "scu":
	case kindLogin:
		if user.Email == "" {
			user.Email = e.UserName
		}
		if strings.HasPrefix(e.UserID, "auth0|") || strings.HasPrefix(e.UserID, "email|") || strings.HasPrefix(e.UserID, "sms|") {
			return d, nil
		}
	case "sdu":
		d.Hint.Deleted = true
	case "sapi":
		user.UserID = userInPath(e.Details.Request.Path)
		if strings.HasSuffix(e.Details.Request.Path, "/identities") {
			d.Kind = "sapi/identities"
		}
		// recorded entries have the method in lower case
		d.Hint.Deleted = strings.EqualFold(e.Details.Request.Method, http.MethodDelete) && !strings.Contains(e.Details.Request.Path, "/identities")
	default:
		return d, nil
	}
	if !strings.Contains(user.Email, "@") { // masked
		user.Email = ""
	}
	hint, ok := user.hint()
	if !ok {
		return d, nil
	}
	hint.Deleted = d.Hint.Deleted
	// Whether the address is verified now a log does not tell, except that it was
	// not at sign-up: the verification has an entry of its own.
	hint.Verified = !(e.Type == "ss" && isFalse(e.Details.Body.Verified) && len(e.Details.Body.Verified) > 0)
	hint.Partial = hint.Verified && !hint.Deleted && (hint.Key == "" || e.Type == "sce")
	d.Hint, d.Understood = hint, true
	return d, nil
}

// userInPath is the user that a call of the Management API was about; "" if it was
// about none.
func userInPath(path string) string {
	rest, ok := strings.CutPrefix(path, "/api/v2/users/")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	id, err := url.PathUnescape(id)
	if err != nil || !utf8.ValidString(id) {
		return ""
	}
	return id
}

// readLogStream reads what a log stream posts: an array of records, a record a
// line, or one record. A record that is not understood does no harm to the others:
// the whole is then kept aside as well.
// https://auth0.com/docs/customize/log-streams/custom-log-streams
func readLogStream(body []byte) []customer.Delivery {
	records, err := logRecords(body)
	var all []customer.Delivery
	for _, record := range records {
		entry, wrong := readLog(SourceLogStream, record.Data)
		err = errors.Join(err, wrong)
		if entry.Understood { // most are about something else
			all = append(all, oncePerUser(entry))
		}
	}
	if err != nil {
		all = append(all, quarantined(SourceLogStream, digest(body), body))
	}
	return all
}

// logRecord wraps an entry in a log stream.
type logRecord struct {
	Data json.RawMessage `json:"data"`
}

func logRecords(body []byte) (records []logRecord, err error) {
	if !utf8.Valid(body) {
		return nil, errors.New("not UTF-8")
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		var all []json.RawMessage
		err = json.Unmarshal(body, &all)
		for _, one := range all {
			var record logRecord
			err = errors.Join(err, json.Unmarshal(one, &record))
			records = append(records, record)
		}
		return records, err
	}
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var one logRecord
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err // where the next begins cannot be told
		}
		records = append(records, one)
	}
}
