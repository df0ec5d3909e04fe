package auth0sim

import (
	"fmt"
	"net"
)

// CheckAddr refuses an address that others could reach: the simulator signs
// tokens for whoever asks.
func CheckAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: expected host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q: the simulator listens on loopback only, such as 127.0.0.1:4000", addr)
	}
	return nil
}
