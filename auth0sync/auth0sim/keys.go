package auth0sim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newSigningKey(id string) signingKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return signingKey{id, key}
}

// RotateKeys signs with a new key from now on. It is the first in the JWKS; the
// old ones stay there, so that their tokens remain valid.
func (t *Tenant) RotateKeys() {
	key := newSigningKey("sim-key-" + randomHex(4))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append([]signingKey{key}, t.keys...)
}

// RevokeOldKeys takes all keys but the newest out of the JWKS.
func (t *Tenant) RevokeOldKeys() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = t.keys[:1]
}

func (t *Tenant) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := []map[string]any{}
	for _, k := range t.keys {
		keys = append(keys, map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

func (t *Tenant) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	issuer := t.Issuer()
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "authorize", "token_endpoint": issuer + "oauth/token",
		"userinfo_endpoint": issuer + "userinfo", "jwks_uri": issuer + ".well-known/jwks.json",
		"code_challenge_methods_supported": []string{"S256"},
		"response_types_supported":         []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// verify reads a token that this tenant has signed. t.mu is held.
func (t *Tenant) verify(text string) (*jwt.Token, error) {
	return jwt.Parse(text, func(token *jwt.Token) (any, error) {
		for _, k := range t.keys {
			if k.id == token.Header["kid"] {
				return &k.key.PublicKey, nil
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(func() time.Time { return t.now() }))
}
