package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ahiko-io/customersync/customer"
)

// Operator returns whom an access token lets before the operator page. It is verified
// as that of any request, and must be a person's. customer.ErrAuth0Away while the
// issuer's keys are not known; any other error refuses the token.
func (s *Server) Operator(ctx context.Context, token string) (customer.Operator, error) {
	p, err := s.tokens.principal(ctx, token)
	switch {
	case err != nil:
		return customer.Operator{}, fmt.Errorf("access token: %w", keysAway(err))
	case p.machine:
		return customer.Operator{}, errors.New("access token: is a machine's")
	}
	return customer.Operator{Subject: p.subject, Application: p.application, Permissions: p.granted, Expires: p.expires}, nil
}

// Identity returns who signed in, by an ID token that the issuer gave a client for this
// nonce (OpenID Connect Core 3.1.3.7). Errors as of Operator.
func (s *Server) Identity(ctx context.Context, idToken, clientID, nonce string) (subject string, err error) {
	if subject, err = s.tokens.identity(ctx, idToken, clientID, nonce); err != nil {
		return "", fmt.Errorf("ID token: %w", keysAway(err))
	}
	return subject, nil
}

func keysAway(err error) error {
	if errors.Is(err, errNoKeys) {
		return fmt.Errorf("%w: %w", customer.ErrAuth0Away, errNoKeys)
	}
	return err
}

func (t *tokens) identity(ctx context.Context, text, clientID, nonce string) (string, error) {
	if len(text) > longestToken {
		return "", errors.New("longer than 8 KiB")
	}
	if err := checkTokenText(text); err != nil {
		return "", err
	}
	claims := jwt.MapClaims{}
	token, err := newParser(t.issuer, clientID, t.now).ParseWithClaims(text, claims, t.keys.key(ctx))
	switch {
	case errors.Is(err, errNoKeys):
		return "", errNoKeys
	case err != nil:
		return "", tokenFault(err)
	}
	if err := checkHeader(token.Header); err != nil {
		return "", err
	}
	if authorized, ok := claims["azp"]; ok && authorized != clientID {
		return "", errors.New("is of another application")
	}
	// It ties the token to the browser that asked: another one's is no use.
	if given, _ := claims["nonce"].(string); nonce == "" || subtle.ConstantTimeCompare([]byte(given), []byte(nonce)) != 1 {
		return "", errors.New("is of another sign-in")
	}
	subject, err := claims.GetSubject()
	if err != nil || subject == "" || !isText(subject) {
		return "", errors.New("sub is missing or not a text")
	}
	return subject, nil
}
