package api

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const fuzzedIssuer, fuzzedAudience = "https://issuer/", "https://api"

// fuzzedTokens verify by one key, without an issuer to ask.
func fuzzedTokens(f *testing.F) (*tokens, *rsa.PrivateKey) {
	f.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
	if err != nil {
		f.Fatal(err)
	}
	keys, err := keyfunc.NewJWKSetJSON(set)
	if err != nil {
		f.Fatal(err)
	}
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	return &tokens{
		keys:       &jwks{keys: keys, now: now, unknown: rate.NewLimiter(0, 0)},
		parser:     newParser(fuzzedIssuer, fuzzedAudience, now),
		emailClaim: "email", now: now, verified: map[string]verified{},
	}, key
}

// FuzzToken tries headers and payloads both signed by the issuer's key and not:
// the latter are all refused, and of the former only what is for us gets in.
func FuzzToken(f *testing.F) {
	const header = `{"alg":"RS256","kid":"k1","typ":"JWT"}`
	f.Add(header, `{"iss":"https://issuer/","aud":"https://api","sub":"a@clients","iat":1800000000,"exp":1800000060}`, "AAAA")
	f.Add(header, `{"iss":"https://issuer/","aud":["https://api"],"sub":"auth0|1","sub":"auth0|2","iat":1800000000,"exp":1800000060}`, "")
	f.Add(`{"alg":"none","kid":"k1"}`, `{}`, "")
	f.Add(`{"alg":"RS256","kid":"k1","crit":["exp"]}`, `{"iss":1,"aud":null,"sub":{},"exp":1e400}`, ".")
	tokens, key := fuzzedTokens(f)
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		if p, err := tokens.principal(t.Context(), text+"."+signature); err == nil {
			t.Errorf("forged %q %q: %+v", header, payload, p)
		} else if toFailure(err).status != 403 {
			t.Errorf("forged: %v", err)
		}
		hash := sha256.Sum256([]byte(text))
		signed, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		p, err := tokens.principal(t.Context(), text+"."+base64.RawURLEncoding.EncodeToString(signed))
		if err != nil {
			if toFailure(err).status != 403 {
				t.Errorf("signed: %v", err)
			}
			return
		}
		claims, err := parseObject([]byte(payload), nil)
		if err != nil {
			t.Fatalf("%q is read in more than one way", payload)
		}
		var read jwt.RegisteredClaims
		if json.Unmarshal([]byte(payload), &read) != nil || string(claims["iss"]) == "" || p.subject == "" || !isText(p.subject) || !p.expires.After(tokens.now().Add(-clockSkew)) {
			t.Errorf("%q became %+v", payload, p)
		}
	})
}

// FuzzKeySet: of any set only keys for verifying RS256 come out, each under its name.
func FuzzKeySet(f *testing.F) {
	key := `{"kty":"RSA","kid":"k1","use":"sig","alg":"RS256","n":"` + base64.RawURLEncoding.EncodeToString(big.NewInt(0).Lsh(big.NewInt(3), 2047).Bytes()) + `","e":"AQAB"}`
	f.Add(`{"keys":[` + key + `]}`)
	f.Add(`{"keys":[` + key + `,{"kty":"oct","kid":"o","k":"AAAA"}]}`)
	f.Add(`{"keys":[` + key + `,{"kty":"EC","kid":"e","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}`)
	f.Add(`{"keys":[` + key + `,` + strings.ReplaceAll(strings.ReplaceAll(key, `"sig"`, `"enc"`), "k1", "k2") + `]}`)
	f.Add(`{"keys":[{"kty":"RSA","kid":"k1","n":"","e":""},null,{"kty":"RSA","kid":"","n":"AQ","e":"AQ"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","kid":"k1","x5c":["AAAA"],"x5t":"A","oth":[{}],"d":"AA","p":"AA","q":"AA"}]}`)
	f.Fuzz(func(t *testing.T, set string) {
		keys, err := readKeys(strings.NewReader(set))
		if err != nil {
			if strings.Contains(err.Error(), "panicked") {
				t.Error(err)
			}
			return
		}
		all, err := keys.Storage().KeyReadAll(t.Context())
		if err != nil || len(all) == 0 {
			t.Fatalf("%d keys, %v", len(all), err)
		}
		for _, k := range all {
			if _, ok := k.Key().(*rsa.PublicKey); !ok || !signs(k.Marshal()) {
				t.Errorf("a key of another kind: %T, %+v", k.Key(), k.Marshal())
			}
		}
	})
}

type bug struct{}

func (bug) Read([]byte) (int, error) { panic("a bug") }

func TestReadingAKeySetThatPanicsIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := readKeys(bug{}); err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("%v", err)
	}
}
