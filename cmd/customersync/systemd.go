package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// supervisor is systemd, which is told how the daemon fares by the protocol of
// sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. The zero value is
// nobody, who is told nothing.
type supervisor struct {
	socket string
	every  time.Duration // between two signs of life; 0: none are wanted
	log    *zap.Logger
}

func supervisorOf(getenv func(string) string, log *zap.Logger) supervisor {
	s := supervisor{socket: getenv("NOTIFY_SOCKET"), log: log}
	if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		s.every = time.Duration(us) * time.Microsecond / 2 // sd_watchdog_enabled(3) advises half
	}
	return s
}

// tell sends a state, such as READY=1. That it could not be sent changes nothing for
// those who are served.
func (s supervisor) tell(ctx context.Context, state string) {
	if s.socket == "" {
		return
	}
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(ctx), "unixgram", s.socket)
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // nothing is buffered
	}
	if err != nil {
		s.log.Warn("tell systemd", zap.String("state", state), zap.Error(err))
	}
}

// watch gives signs of life as long as the process answers /livez, over the network as
// a monitor would see it. One that hangs is restarted then.
func (s supervisor) watch(ctx context.Context, ops string) {
	if s.socket == "" || s.every == 0 {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := probe(ctx, ops, "/livez"); err != nil {
			s.log.Error("no sign of life to systemd", zap.Error(err))
			continue
		}
		s.tell(ctx, "WATCHDOG=1")
	}
}

// probeWithin is how long an answer may take: its checks take two seconds at most.
const probeWithin = 5 * time.Second

// probe asks a daemon on this machine how it is. The error says what it answers.
func probe(ctx context.Context, ops, path string) error {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+onThisMachine(ops)+path, nil)
	if err != nil {
		return err
	}
	req.Close = true // it is the only one for a while
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it has been read
	body := make([]byte, 1024)
	n, _ := res.Body.Read(body) // for the message alone
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, res.StatusCode, body[:n])
	}
	return nil
}

// onThisMachine turns an address to listen on into one to call. By number: an image
// with nothing in it has no names.
func onThisMachine(address string) string {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return address
	case host == "", host == "0.0.0.0":
		host = "127.0.0.1"
	case host == "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
