package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
)

// measureDecode compares reading an export with unpacking its lines.
func measureDecode(ctx context.Context, b *bench) ([]result, error) {
	file := filepath.Join(b.dir, "export.ndjson.gz")
	// Ids as Auth0 makes them: what is packed badly is what takes time to unpack.
	id := func(i int) string { return fmt.Sprintf("%024x", uint64(i)*0x9e3779b97f4a7c15) } //nolint:gosec // no index is negative
	if err := writeExport(file, b.customers, id); err != nil {
		return nil, err
	}
	url, stop, err := exporting(ctx, file, b.customers)
	if err != nil {
		return nil, err
	}
	defer stop()
	directory := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: url, ClientID: "bench", ClientSecret: "bench", Share: 1, Metrics: prometheus.NewRegistry(),
	})
	var times []round
	var heaps []float64
	for range b.rounds {
		limit, err := scan(file, b.customers)
		if err != nil {
			return nil, err
		}
		ours, heap, err := decode(ctx, directory, b.customers)
		if err != nil {
			return nil, err
		}
		times = append(times, round{Ours: ours, Limit: limit})
		heaps = append(heaps, heap)
	}
	return []result{
		compared("decode an export, against gunzip and a scan for lines", "s", goal{AtMost: 4}, times),
		absolute("the same, heap in use at most", "MB", goal{}, heaps...),
	}, nil
}

// writeExport makes an export as Auth0 would, of user0@example.com and so on.
func writeExport(path string, users int, idOf func(int) string) (err error) {
	file, err := os.Create(path) //nolint:gosec // our own scratch space
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	packed := gzip.NewWriter(file)
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range users {
		id := idOf(i)
		created := at.Add(time.Duration(i) * 17 * time.Second)
		_, err := fmt.Fprintf(packed, `{"user_id":"auth0|%s","email":"user%d@example.com","email_verified":true,"identities":[{"user_id":"%s","provider":"auth0","connection":"Username-Password-Authentication","isSocial":false}],"created_at":"%s","updated_at":"%s"}`+"\n",
			id, i, id, created.Format("2006-01-02T15:04:05.000Z"), created.Add(time.Duration(i%5000)*time.Minute).Format("2006-01-02T15:04:05.000Z"))
		if err != nil {
			return err
		}
	}
	return packed.Close()
}

// scan unpacks a file and counts its lines.
func scan(path string, users int) (float64, error) {
	started := time.Now()
	file, err := os.Open(path) //nolint:gosec // our own scratch space
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // read to its end
	unpacked, err := gzip.NewReader(bufio.NewReaderSize(file, 64<<10))
	if err != nil {
		return 0, err
	}
	lines, n := bufio.NewScanner(unpacked), 0
	for lines.Scan() {
		n++
	}
	if n != users {
		err = fmt.Errorf("%d lines of %d", n, users)
	}
	return time.Since(started).Seconds(), errors.Join(err, lines.Err())
}

// exporting serves a tenant whose export is ready: what a simulator takes to make
// one is not to be measured.
func exporting(ctx context.Context, file string, users int) (url string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	url = "http://" + listener.Addr().String()
	say := func(body any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(body) // the client is gone
		}
	}
	job := map[string]any{"id": "job_1", "status": "completed", "location": url + "/file", "created_at": time.Now().UTC().Format(time.RFC3339)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", say(map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 86400}))
	mux.HandleFunc("GET /api/v2/users", say(map[string]any{"start": 0, "limit": 1, "length": 0, "total": users, "users": []any{}}))
	mux.HandleFunc("POST /api/v2/jobs/users-exports", say(job))
	mux.HandleFunc("GET /api/v2/jobs/job_1", say(job))
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until it is closed
	return url, func() { _ = server.Close() }, nil
}

// decode reads the export as the worker does, and returns the seconds it took and
// the most MB of heap in use.
func decode(ctx context.Context, directory *auth0sync.Directory, users int) (seconds, heap float64, err error) {
	runtime.GC()
	started := time.Now()
	n := 0
	var memory runtime.MemStats
	for u, err := range directory.Export(ctx, "", func(string) error { return nil }) {
		if err != nil {
			return 0, 0, err
		}
		if u.ID == "" || !u.EmailVerified || len(u.Identities) != 1 {
			return 0, 0, fmt.Errorf("user %d was read as %+v", n, u)
		}
		if n++; n%100_000 == 0 {
			runtime.ReadMemStats(&memory)
			heap = max(heap, float64(memory.HeapInuse)/(1<<20))
		}
	}
	if n != users {
		err = fmt.Errorf("%d users of %d", n, users)
	}
	return time.Since(started).Seconds(), heap, err
}
