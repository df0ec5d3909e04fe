package api

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/customer"
)

// writeCustomer answers with one customer. By hand, like a row of the listing: it
// is what most requests get, and reflection is half of what such an answer costs.
func writeCustomer(w http.ResponseWriter, c customer.Customer) {
	b := make([]byte, 0, 512)
	b = append(b, `{"success":true,"data":{"customer_id":"`...)
	b = append(b, c.ID...)
	b = append(b, `","created_at":"`...)
	b = c.CreatedAt.UTC().AppendFormat(b, customer.TimeFormat)
	b = append(b, `","updated_at":"`...)
	b = c.UpdatedAt.UTC().AppendFormat(b, customer.TimeFormat)
	b = append(b, `","first_name":`...)
	b = appendText(b, c.FirstName)
	b = append(b, `,"last_name":`...)
	b = appendText(b, c.LastName)
	b = append(b, `,"auth_user_id":`...)
	b = appendText(b, c.AuthUserID)
	b = append(b, `,"email_address":`...)
	b = appendText(b, c.Email.Address)
	b = append(b, `,"customer_lifecycle":"`...)
	b = append(b, c.Lifecycle...)
	b = append(b, `","property_list":[]}}`+"\n"...) // the list is the Location API's; here always empty
	jsonHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // the client is gone
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// query reads the query, which may have each of the named parameters once and no
// other: a misspelt email_address must not list everyone (R1).
func (c *call) query(names ...string) (url.Values, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, fail("invalid_query").because(err)
	}
	for name, all := range values {
		switch {
		case !slices.Contains(names, name):
			return nil, fail("invalid_query").about(fieldName(name)).saying("The query has a parameter that is not known.")
		case len(all) > 1:
			return nil, fail("invalid_query").about(name).saying("The query has a parameter twice.")
		case !isText(all[0]):
			return nil, fail("invalid_query").about(name).saying("The query has a parameter that is not a text.")
		case all[0] == "":
			return nil, fail("invalid_query").about(name).saying("The query has a parameter without a value.")
		}
	}
	return values, nil
}

const emailParameter = "email_address"

// emailIn reads the address that a query names.
func emailIn(values url.Values) (customer.Email, error) {
	address := values.Get(emailParameter)
	if strings.Contains(address, " ") {
		return customer.Email{}, fail("invalid_email_address").about(emailParameter).
			saying("The e-mail address has a space in it. In a query a bare + stands for a space: encode + as %2B.")
	}
	email, err := customer.ParseEmail(address)
	if err != nil {
		return customer.Email{}, fail("invalid_email_address").about(emailParameter).saying(err.Error() + ".")
	}
	return email, nil
}

// target finds the customer that a request names by path or query, if the
// principal may do to it what the permission says. also are parameters that the
// query may have beside the address.
func (s *Server) target(c *call, permission string, also ...string) (customer.Customer, error) {
	ctx := c.r.Context()
	name := c.r.PathValue("customer_id")
	if name == "" {
		values, err := c.query(append(also, emailParameter)...)
		if err != nil {
			return customer.Customer{}, err
		}
		if !values.Has(emailParameter) {
			return customer.Customer{}, fail("email_address_required").about(emailParameter)
		}
		email, err := emailIn(values)
		if err != nil {
			return customer.Customer{}, err
		}
		c.about = email.Key
		found, err := s.customers.CustomerByEmail(ctx, email.Key)
		return s.allow(c, permission, found, err)
	}
	if _, err := c.query(also...); err != nil {
		return customer.Customer{}, err
	}
	if name == "me" {
		return s.me(ctx, c)
	}
	id, err := customer.ParseID(name)
	if err != nil {
		return s.allow(c, permission, customer.Customer{}, customer.ErrNotFound)
	}
	found, err := s.customers.Customer(ctx, id)
	return s.allow(c, permission, found, err)
}

// getCollection is one customer by e-mail address, or all of them.
func (s *Server) getCollection(c *call) error {
	if strings.Contains(c.r.URL.RawQuery, emailParameter) {
		return s.get(c)
	}
	return s.list(c)
}

// get answers with one customer, at once or when it is active (R18). If-None-Match
// is compared with the customer that would be answered with, after the wait.
func (s *Server) get(c *call) error {
	hold, err := c.holdFor()
	if err != nil {
		return err
	}
	found, err := s.target(c, readCustomers, waitParameter, timeoutParameter)
	if err == nil && hold > 0 && found.Lifecycle == customer.AuthPending {
		found, err = s.untilActive(c, found, hold)
	}
	if c.hungUp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	tag := etag(found)
	c.w.Header().Set("ETag", tag)
	if matches(c.r.Header.Values("If-None-Match"), tag, true) {
		c.w.Header().Set("Cache-Control", "private, no-store")
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeCustomer(c.w, found)
	return nil
}

// etag is strong: every change that shows moves the version on (R15).
func etag(c customer.Customer) string {
	return `"` + strconv.FormatInt(c.Version, 10) + "-" + string(c.ID[len(c.ID)-12:]) + `"`
}

// matches compares a condition's entity tags with the customer's, as RFC 9110
// section 13.1 has it: weakly for If-None-Match, strongly for If-Match.
func matches(condition []string, tag string, weakly bool) bool {
	for candidate := range strings.SplitSeq(strings.Join(condition, ","), ",") {
		candidate = strings.TrimSpace(candidate)
		if weakly {
			candidate = strings.TrimPrefix(candidate, "W/")
		}
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

// ifVersion is the version that If-Match asks for; 0 if it does not. That it is
// still so is checked once more in the transaction of the change.
func (c *call) ifVersion(found customer.Customer) (int64, error) {
	condition := c.r.Header.Values("If-Match")
	switch {
	case len(condition) == 0:
		return 0, nil
	case !matches(condition, etag(found), false):
		return 0, customer.ErrStale
	}
	return found.Version, nil
}

func (c *call) cause(why string) customer.Cause {
	return customer.Cause{Kind: customer.ByAPI, Actor: c.principal.name(), RequestID: c.requestID, Why: why}
}

func (s *Server) post(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if c.principal.machine && !c.principal.may(createCustomers) {
		return fail(codeForbidden)
	}
	raw, object, err := readObject(c, "first_name", "last_name", emailParameter)
	if err != nil {
		return err
	}
	draft, err := draftOf(object)
	if err != nil {
		return err
	}
	if draft.Idempotency, err = c.idempotency(raw); err != nil {
		return err
	}
	cause := c.cause("created through the API")
	var claim *customer.Claim
	if !c.principal.may(createCustomers) {
		if claim, err = s.ownDraft(c, &draft); err != nil {
			return err
		}
		cause.Kind = customer.ByToken
	}
	draft.CreatedBy, c.about = c.principal.name(), draft.Email.Key
	id, _, err := s.enroller.Enroll(c.r.Context(), draft, claim, cause)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct {
		Success bool        `json:"success"`
		ID      customer.ID `json:"customer_id"`
	}{true, id})
	return nil
}

// draftOf reads a new customer.
func draftOf(object map[string]json.RawMessage) (customer.Draft, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return customer.Draft{}, fmt.Errorf("make an id: %w", err)
	}
	d := customer.Draft{ID: customer.ID(id.String())}
	for member, to := range map[string]*string{"first_name": &d.FirstName, "last_name": &d.LastName} {
		value, err := text(object, member)
		if err != nil {
			return d, err
		}
		if *to, err = customer.ParseName(member, value); err != nil {
			return d, err
		}
	}
	if raw, given := object[emailParameter]; given && string(raw) != "null" {
		address, err := text(object, emailParameter)
		if err != nil {
			return d, err
		}
		if d.Email, err = customer.ParseEmail(address); err != nil {
			return d, err
		}
	}
	return d, nil
}

// ownDraft makes the draft the caller's own: its e-mail address is the token's
// (R10). The claim returned is nil unless that address is verified (R11).
func (s *Server) ownDraft(c *call, d *customer.Draft) (*customer.Claim, error) {
	p, err := s.userInfo.complete(c.r.Context(), c.principal)
	if err != nil {
		return nil, err
	}
	c.principal = p
	switch {
	case p.rawEmail != "" && p.claim.Email.Key == "":
		return nil, fail("invalid_field").about(emailParameter).saying("The e-mail address of the access token is not accepted.")
	case d.Email.Key != "" && d.Email.Key != p.claim.Email.Key:
		return nil, fail("email_mismatch").about(emailParameter)
	}
	d.Email, d.Subject, d.IssuedAt = p.claim.Email, p.subject, p.issued
	if !p.claim.Verified {
		return nil, nil
	}
	return &p.claim, nil
}

const longestIdempotencyKey = 255 // bytes (R12)

func (c *call) idempotency(body []byte) (customer.Idempotency, error) {
	keys := c.r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return customer.Idempotency{}, nil
	}
	key := keys[0]
	if len(keys) > 1 || key == "" || len(key) > longestIdempotencyKey ||
		strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return customer.Idempotency{}, fail("invalid_header").about("Idempotency-Key").
			saying("Idempotency-Key must be one value of 1 to 255 printable ASCII characters.")
	}
	return customer.Idempotency{Key: key, Scope: c.principal.name() + " " + c.principal.appKey, Body: sha256.Sum256(body)}, nil
}

func (s *Server) patch(c *call) error {
	_, object, err := readObject(c, "first_name", "last_name", "auth_user_id")
	if err != nil {
		return err
	}
	p, err := patchOf(object)
	if err != nil {
		return err
	}
	found, err := s.target(c, updateCustomers)
	if err != nil {
		return err
	}
	if p.Field == customer.FieldAuthUserID && !c.principal.may(updateCustomers) {
		return fail(codeForbidden).about("auth_user_id") // not even on itself (R9)
	}
	version, err := c.ifVersion(found)
	if err != nil {
		return err
	}
	p.Seen = found.Version
	if _, err = s.customers.Patch(c.r.Context(), found.ID, p, version, c.cause("changed through the API")); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, success{true})
	return nil
}

// patchOf reads a change of exactly one field (R7).
func patchOf(object map[string]json.RawMessage) (customer.Patch, error) {
	if len(object) != 1 {
		return customer.Patch{}, fail("exactly_one_field")
	}
	var p customer.Patch
	for member, raw := range object {
		p.Field = customer.Field(member)
		if p.Field == customer.FieldAuthUserID && string(raw) == "null" {
			return p, nil
		}
		value, err := text(object, member)
		if err != nil {
			return p, err
		}
		if p.Field == customer.FieldAuthUserID {
			p.Value, err = customer.ParseAuthUserID(value)
		} else {
			p.Value, err = customer.ParseName(member, value)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// remove closes a customer or, told so, erases it.
func (s *Server) remove(c *call) error {
	if erase, err := c.isTrue(eraseParameter); err != nil || erase {
		if err != nil {
			return err
		}
		return s.erase(c)
	}
	found, err := s.target(c, deleteCustomers)
	if err != nil {
		return err
	}
	version, err := c.ifVersion(found)
	if err != nil {
		return err
	}
	if err := s.customers.CloseCustomer(c.r.Context(), found.ID, version, c.cause("closed through the API")); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, success{true})
	return nil
}
