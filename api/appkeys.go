package api

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// appKeys knows the app keys that are valid (R17). It keeps the whole set in
// memory: there are few, and guessing must not cost a query each.
type appKeys struct {
	load   func(context.Context) (map[[sha256.Size]byte]string, error)
	now    func() time.Time
	flight singleflight.Group
	again  *rate.Limiter // of reloads for unknown keys

	mu     sync.RWMutex
	keys   map[[sha256.Size]byte]string // hash → id
	loaded time.Time
}

const (
	appKeyLength = 32
	// appKeysFor is how long a revoked key may still work here.
	appKeysFor = 10 * time.Second
	// Unknown keys may cause this many reloads at once and one a second after: a
	// new key works at once, and guesses cost a query a second.
	appKeysBurst = 10
)

func newAppKeys(load func(context.Context) (map[[sha256.Size]byte]string, error), now func() time.Time) *appKeys {
	return &appKeys{load: load, now: now, again: rate.NewLimiter(rate.Every(time.Second), appKeysBurst)}
}

// id returns the id of the key in the ahiko-app-id headers.
func (a *appKeys) id(ctx context.Context, headers []string) (string, error) {
	switch {
	case len(headers) == 0:
		return "", fail("app_id_missing").about("ahiko-app-id")
	case len(headers) > 1 || len(headers[0]) != appKeyLength || strings.ContainsFunc(headers[0], notAlphanumeric):
		return "", fail("app_id_malformed").about("ahiko-app-id")
	}
	hash := sha256.Sum256([]byte(headers[0]))
	a.mu.RLock()
	id, known, age := a.keys[hash], a.keys[hash] != "", a.now().Sub(a.loaded)
	a.mu.RUnlock()
	if age < appKeysFor && (known || !a.again.AllowN(a.now(), 1)) {
		return found(id)
	}
	keys, err := a.reload(ctx)
	if err != nil {
		return "", err
	}
	return found(keys[hash])
}

func found(id string) (string, error) {
	if id == "" {
		return "", fail("app_id_unknown").about("ahiko-app-id")
	}
	return id, nil
}

func (a *appKeys) reload(ctx context.Context) (map[[sha256.Size]byte]string, error) {
	keys, err, _ := a.flight.Do("", func() (any, error) {
		// Not by the first caller's deadline alone: others wait for it too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestWithin)
		defer cancel()
		keys, err := a.load(ctx)
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.keys, a.loaded = keys, a.now()
		return keys, nil
	})
	if err != nil {
		return nil, err
	}
	return keys.(map[[sha256.Size]byte]string), nil //nolint:forcetypeassert // set above
}

func notAlphanumeric(r rune) bool {
	return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}
