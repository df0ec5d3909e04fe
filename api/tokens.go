package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/ahiko-io/customersync/customer"
)

// tokens verifies access tokens.
type tokens struct {
	keys       *jwks
	issuer     string
	parser     *jwt.Parser
	emailClaim string
	now        func() time.Time

	mu       sync.Mutex
	verified map[string]verified // by their text
}

// verified is a token that was checked lately: its signature costs as much as
// the query it is for.
type verified struct {
	principal principal
	until     time.Time
}

const (
	longestToken = 8 << 10 // bytes
	mostVerified = 10_000  // tokens
	verifiedFor  = time.Minute
	clockSkew    = 10 * time.Second
)

func newTokens(ctx context.Context, c Config) (*tokens, error) {
	if c.Audience == "" || !strings.HasSuffix(c.Issuer, "/") {
		return nil, errors.New("api: an audience, and an issuer that ends in /, are required")
	}
	return &tokens{
		keys:       newJWKS(ctx, c.Issuer+".well-known/jwks.json", c.HTTPClient, c.Logger, c.Now),
		issuer:     c.Issuer,
		parser:     newParser(c.Issuer, c.Audience, c.Now),
		emailClaim: c.EmailClaim,
		now:        c.Now,
		verified:   map[string]verified{},
	}, nil
}

func newParser(issuer, audience string, now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}), // Auth0's default, and the only one of an API's tokens here
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(clockSkew),
		jwt.WithTimeFunc(now),
		jwt.WithStrictDecoding(),
	)
}

func (t *tokens) ready() error {
	if t.keys.loaded() == nil {
		return errNoKeys
	}
	return nil
}

// principal returns who a token stands for.
func (t *tokens) principal(ctx context.Context, text string) (principal, error) {
	if len(text) > longestToken {
		return principal{}, fail("token_invalid").because(errors.New("longer than 8 KiB"))
	}
	if p, ok := t.remembered(text); ok {
		return p, nil
	}
	if err := checkTokenText(text); err != nil {
		return principal{}, fail("token_invalid").because(err)
	}
	claims := jwt.MapClaims{}
	token, err := t.parser.ParseWithClaims(text, claims, t.keys.key(ctx))
	if err != nil {
		return principal{}, tokenFailure(err)
	}
	if err := checkHeader(token.Header); err != nil {
		return principal{}, fail("token_invalid").because(err)
	}
	p, err := t.read(claims)
	if err != nil {
		return principal{}, fail("token_invalid").because(err)
	}
	p.token = text
	t.remember(p)
	return p, nil
}

func (t *tokens) remembered(text string) (principal, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.verified[text]
	return v.principal, ok && t.now().Before(v.until)
}

func (t *tokens) remember(p principal) {
	now := t.now()
	until := now.Add(verifiedFor)
	if p.expires.Before(until) {
		until = p.expires
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.verified) >= mostVerified {
		clear(t.verified) // rare, and costs each bearer one verification
	}
	t.verified[p.token] = verified{p, until}
}

func tokenFailure(err error) error {
	switch {
	case errors.Is(err, errNoKeys):
		return fail("auth_unavailable").because(errNoKeys)
	case errors.Is(err, jwt.ErrTokenExpired):
		return fail("token_expired").because(jwt.ErrTokenExpired)
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return fail("token_audience").because(jwt.ErrTokenInvalidAudience)
	}
	return fail("token_invalid").because(tokenFault(err))
}

// tokenFault is what is wrong with a token in the library's words for it alone:
// its errors repeat the key id, the algorithm and more, which are a stranger's to
// choose, and would stand in the log.
func tokenFault(err error) error {
	for _, fault := range []error{
		jwkset.ErrKeyNotFound, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenRequiredClaimMissing,
		jwt.ErrTokenSignatureInvalid, jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable,
	} {
		if errors.Is(err, fault) {
			return fault
		}
	}
	return jwt.ErrTokenInvalidClaims
}

// principal is who makes a request.
type principal struct {
	subject     string // sub
	machine     bool   // an application, not a person
	permissions []string
	granted     []string       // those of permissions that roles gave
	application string         // azp, or client_id in tokens by RFC 9068
	claim       customer.Claim // of a person: what the token says of the e-mail address; zero Email: nothing
	rawEmail    string         // the e-mail claim as it stands, valid or not
	issued      time.Time      // of a person's token; its claim may be younger, from /userinfo
	expires     time.Time
	token       string // for /userinfo
	appKey      string // id of the app key the request came with
}

// may reports whether the principal has a permission (R2).
func (p principal) may(permission string) bool { return slices.Contains(p.permissions, permission) }

// name is how the principal is written into created_by and history.
func (p principal) name() string {
	if p.machine {
		return "app:" + p.appKey
	}
	return "sub:" + p.subject
}

// read takes from verified claims what we go by.
func (t *tokens) read(claims jwt.MapClaims) (principal, error) {
	subject, err := claims.GetSubject()
	if err != nil || !isText(subject) || subject == "" {
		return principal{}, errors.New("sub is missing or not a text")
	}
	for _, claim := range []string{"nonce", "at_hash", "c_hash", "s_hash"} { // OpenID Connect Core: only ID tokens have these
		if _, ok := claims[claim]; ok {
			return principal{}, errors.New("is an ID token")
		}
	}
	p := principal{
		subject: subject,
		machine: claims["gty"] == "client-credentials" || strings.HasSuffix(subject, "@clients"),
		granted: granted(claims),
	}
	p.permissions = append(slices.Clone(p.granted), scopes(claims)...)
	if p.application, _ = claims["azp"].(string); p.application == "" {
		p.application, _ = claims["client_id"].(string)
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return principal{}, errors.New("exp is missing")
	}
	p.expires = expires.Time
	if p.machine {
		return p, nil
	}
	if _, err := customer.ParseAuthUserID(subject); err != nil {
		return principal{}, fmt.Errorf("sub of a user: %w", err)
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil {
		return principal{}, errors.New("iat is missing")
	}
	p.issued = issued.UTC()
	p.claim = customer.Claim{AuthUserID: subject, IssuedAt: p.issued}
	return p, t.readEmail(claims, &p)
}

// readEmail takes the e-mail claim. Only a text is an address, and only JSON
// true makes it a verified one.
func (t *tokens) readEmail(claims jwt.MapClaims, p *principal) error {
	address, ok := claims[t.emailClaim].(string)
	if !ok {
		return nil
	}
	if !isText(address) {
		return errors.New("e-mail claim is not a text")
	}
	p.rawEmail = address
	if email, err := customer.ParseEmail(address); err == nil {
		p.claim.Email = email
		p.claim.Verified = claims[t.emailClaim+"_verified"] == true
	}
	return nil
}

// granted are the permissions that the issuer's roles gave. An application cannot ask
// for them, as it can for scopes where the API has no roles switched on.
func granted(claims jwt.MapClaims) (all []string) {
	list, _ := claims["permissions"].([]any)
	for _, one := range list {
		if text, ok := one.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

func scopes(claims jwt.MapClaims) []string {
	scope, _ := claims["scope"].(string)
	return strings.Fields(scope)
}

// isText reports whether the database can hold s and a log line show it.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
