package auth0sync_test

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync"
)

// exportedAs is a tenant whose export is ready; serve writes what is in its file.
func exportedAs(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, file *gzip.Writer)) *auth0sync.Directory {
	t.Helper()
	mux := http.NewServeMux()
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body)) // the client is gone
		}
	}
	mux.Handle("POST /oauth/token", say(`{"access_token":"x","token_type":"Bearer","expires_in":86400}`))
	mux.HandleFunc("/api/v2/jobs/", func(w http.ResponseWriter, r *http.Request) {
		say(fmt.Sprintf(`{"id":"job_1","status":"completed","location":"http://%s/file","created_at":"2026-11-23T12:00:00.000Z"}`, r.Host))(w, r)
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		file := gzip.NewWriter(w)
		serve(w, r, file)
		_ = file.Close() // the client is gone
	})
	return directory(t, mux)
}

func writeUser(file *gzip.Writer, i int) {
	_, _ = fmt.Fprintf(file, `{"user_id":"auth0|%d","email":"u%d@example.com"}`+"\n", i, i) // the client is gone
}

func noJobNoted(string) error { return nil }

func TestADownloadThatBreaksOffIsGoneOnWith(t *testing.T) {
	t.Parallel()
	const all = 20_000 // some blocks of what is unpacked ahead
	var downloads atomic.Int32
	d := exportedAs(t, func(w http.ResponseWriter, _ *http.Request, file *gzip.Writer) {
		n := downloads.Add(1)
		for i := range all {
			if n < 3 && i == int(n)*all/3 {
				_ = file.Flush() // what there is so far reaches the client
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			writeUser(file, i)
		}
	})
	seen := 0
	for u, err := range d.Export(t.Context(), "", noJobNoted) {
		if err != nil {
			t.Fatalf("after %d users: %v", seen, err)
		}
		if want := fmt.Sprintf("auth0|%d", seen); u.ID != want {
			t.Fatalf("user %d is %q", seen, u.ID)
		}
		seen++
	}
	if seen != all || downloads.Load() != 3 {
		t.Errorf("%d users of %d, by %d downloads", seen, all, downloads.Load())
	}
}

// Whoever has seen enough is not kept waiting for a file that goes on, or does not
// come, and nobody is left who reads it.
func TestAnExportCanBeStopped(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"while more comes": 1 << 30, "while nothing comes": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			d := exportedAs(t, func(w http.ResponseWriter, r *http.Request, file *gzip.Writer) {
				defer close(ended)
				for i := 0; i < more && r.Context().Err() == nil; i++ {
					writeUser(file, i)
				}
				_ = file.Flush() // the client may be gone
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			for u, err := range d.Export(t.Context(), "", noJobNoted) {
				if err != nil || u.ID != "auth0|0" {
					t.Fatalf("%+v, %v", u, err)
				}
				break
			}
			<-ended
		})
	}
}
