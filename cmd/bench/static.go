package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"
)

// sampleAnswer is as long as a customer.
const sampleAnswer = `{"success":true,"data":{"customer_id":"01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11","created_at":"2026-11-23T12:00:00.908190Z","updated_at":"2026-11-23T12:00:01.093721Z","first_name":"First123456","last_name":"Last123456","auth_user_id":"auth0|63a03d3ab783b6ee24eda463","email_address":"customer123456@example.com","customer_lifecycle":"active","property_list":[]}}` + "\n"

// answerAlike is the least that net/http can do: the same bytes for everybody.
func answerAlike(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(sampleAnswer)) // the client is gone
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close() // Serve returns
	}()
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return nil
}

const staticAddress = "127.0.0.1:4393"

// static starts this program again as that server: a process of its own, like ours.
func (b *bench) static(ctx context.Context) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, b.dir, "static", os.Environ(), self, "-answer", staticAddress)
	if err != nil {
		return nil, err
	}
	return p, until(ctx, "the static server", func() bool { return b.get(ctx, "http://"+staticAddress) == nil })
}
