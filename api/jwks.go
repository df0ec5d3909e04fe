package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	jwksWithin  = 5 * time.Second
	jwksRefresh = time.Hour
	jwksRetry   = 2 * time.Second // until the first set is there
	jwksLargest = 1 << 20         // bytes
	// jwksUnknown is how often a key id that nobody knows may cause a fetch: a
	// rotated key is found soon, and made-up ids cost the issuer nothing.
	jwksUnknown = 3 * time.Second
)

var errNoKeys = errors.New("the issuer's signing keys have not been loaded yet")

// jwks is the issuer's key set. keyfunc reads it; fetching is our own, since its
// fetch for an unknown key id shares one deadline with the wait for its rate
// limit (jwkset v0.11.4): a short one never fetches, a long one lets forged
// tokens hold requests up. A set that cannot be fetched or is empty leaves the
// old one in use.
type jwks struct {
	url     string
	client  *http.Client
	log     *zap.Logger
	flight  singleflight.Group
	unknown *rate.Limiter
	now     func() time.Time

	mu   sync.RWMutex
	keys keyfunc.Keyfunc // nil until loaded
}

// newJWKS loads the set in the background, and goes on until ctx ends.
func newJWKS(ctx context.Context, url string, client *http.Client, log *zap.Logger, now func() time.Time) *jwks {
	j := &jwks{url: url, client: client, log: log, unknown: rate.NewLimiter(rate.Every(jwksUnknown), 1), now: now}
	go j.keepFresh(ctx)
	return j
}

func (j *jwks) keepFresh(ctx context.Context) {
	for {
		wait := jwksRefresh
		if err := j.refresh(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("signing keys not fetched", zap.String("url", j.url), zap.Error(err))
			if j.loaded() == nil {
				wait = jwksRetry
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (j *jwks) loaded() keyfunc.Keyfunc {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.keys
}

// key finds the key that a token says it is signed by.
func (j *jwks) key(ctx context.Context) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		if _, named := token.Header["kid"].(string); !named {
			return nil, errors.New("the token names no key")
		}
		keys := j.loaded()
		if keys == nil {
			return nil, errNoKeys
		}
		key, err := keys.KeyfuncCtx(ctx)(token)
		if !errors.Is(err, jwkset.ErrKeyNotFound) || !j.unknown.AllowN(j.now(), 1) {
			return key, err
		}
		if err := j.refresh(ctx); err != nil {
			j.log.Warn("signing keys not fetched for a token of an unknown key", zap.String("url", j.url), zap.Error(err))
			return nil, err
		}
		return j.loaded().KeyfuncCtx(ctx)(token)
	}
}

// refresh fetches the set; calls at the same time share one fetch.
func (j *jwks) refresh(ctx context.Context) error {
	_, err, _ := j.flight.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jwksWithin)
		defer cancel()
		keys, err := j.fetch(ctx)
		if err != nil {
			return nil, err
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.keys = keys
		return nil, nil
	})
	return err
}

func (j *jwks) fetch(ctx context.Context) (keyfunc.Keyfunc, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := j.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return readKeys(io.LimitReader(res.Body, jwksLargest))
}

// readKeys reads a key set. A key that a library panics at, on the goroutine that
// fetches again and again, must not end the process each time that it starts.
func readKeys(from io.Reader) (keys keyfunc.Keyfunc, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not a key set: reading it panicked: %v", r)
		}
	}()
	var set jwkset.JWKSMarshal
	if err := json.NewDecoder(from).Decode(&set); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	set.Keys = slices.DeleteFunc(set.Keys, func(k jwkset.JWKMarshal) bool { return !signs(k) })
	if len(set.Keys) == 0 {
		return nil, errors.New("no RSA signing key in the set")
	}
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	return keyfunc.NewJWKSetJSON(raw)
}

// signs reports whether a key is for verifying RS256 signatures. The JWT
// libraries take any key, those for encryption too.
func signs(k jwkset.JWKMarshal) bool {
	return k.KTY == jwkset.KtyRSA && k.KID != "" &&
		(k.USE == "" || k.USE == jwkset.UseSig) &&
		(k.ALG == "" || k.ALG == jwkset.AlgRS256) &&
		(len(k.KEYOPS) == 0 || slices.Contains(k.KEYOPS, jwkset.KeyOpsVerify))
}
