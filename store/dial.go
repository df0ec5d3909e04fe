package store

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// connect makes a pool, which prepares statements if it is told to. The server need
// not be up.
func connect(dsn string, d dialer, prepares bool) (*sql.DB, error) {
	c, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, errors.New("database URL: not understood") // pq's error repeats the password
	}
	d.pooled = true
	c.Dialer(d)
	return sql.OpenDB(mortal(connector{c, prepares})), nil
}

// connector tells errors of connecting from others: whatever keeps a connection
// from being made, a certificate say, the database cannot be used just now.
type connector struct {
	*pq.Connector
	prepares bool
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	var wire *deadlineConn
	conn, err := c.Connector.Connect(context.WithValue(ctx, dialled{}, &wire))
	if err != nil {
		return nil, connectError{err}
	}
	able, ok := conn.(pqConn)
	switch {
	case !ok || wire == nil:
		return conn, nil
	case !c.prepares:
		return &poolConn{able, wire, nil}, nil
	}
	return &poolConn{able, wire, map[string]driver.Stmt{}}, nil
}

type connectError struct{ error }

// Unwrap lets errors.Is and errors.As see what happened.
func (e connectError) Unwrap() error { return e.error }

// dialer connects to Postgres so that no read and no write waits longer than
// timeout. lib/pq (v1.12.3) asks a frozen server to cancel and then waits for
// its answer for ever, whatever the context says; only the connection itself can
// end that.
type dialer struct {
	timeout time.Duration
	until   context.Context // if not nil: its end closes the connections
	pooled  bool            // connections for cancels are hurried
}

const connectTimeout = 5 * time.Second

// Dial implements pq.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements pq.Dialer.
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.until != nil {
		context.AfterFunc(d.until, func() { _ = conn.Close() }) //nolint:contextcheck // whoever waits for it is told
	}
	c := &deadlineConn{Conn: conn, timeout: d.timeout}
	c.ahead = bufio.NewReaderSize(readFunc(c.readSoon), readAhead)
	switch place, ok := ctx.Value(dialled{}).(**deadlineConn); {
	case ok:
		*place = c // of several hosts the last one that was tried is taken
	case d.pooled:
		c.hurried.Store(true)
	}
	return c, nil
}

// readAhead is as much as is read of what the server has sent: lib/pq takes 4 KiB
// at a time, which for a listing is a wake-up every 50 customers.
const readAhead = 32 << 10

// deadlineConn gives each read and write its own deadline.
type deadlineConn struct {
	net.Conn
	timeout time.Duration
	hurried atomic.Bool // the caller's time is up
	ahead   *bufio.Reader
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// Read implements net.Conn.
func (c *deadlineConn) Read(b []byte) (int, error) { return c.ahead.Read(b) }

func (c *deadlineConn) readSoon(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	if c.hurried.Load() { // asked last, or hurry could be undone
		c.hurry()
	}
	return c.Conn.Read(b)
}

// Write implements net.Conn.
func (c *deadlineConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

const (
	// idleInTransaction is the server's limit for a transaction that says nothing.
	idleInTransaction = "idle_in_transaction_session_timeout"
	// lockTimeout is the server's limit for waiting for one lock.
	lockTimeout = "lock_timeout"
)

// checkDSN refuses a DSN that leaves encryption to chance: lib/pq's next release
// changes its default from require to prefer. A socket on this machine needs none.
//
// Of the server's limits it sets those that are not in it. patience is how long we
// wait for the server's next bytes.
func checkDSN(dsn string, pgbouncer bool, patience time.Duration) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("database URL: expected postgres://user:password@host:port/name?sslmode=verify-full")
	}
	query := u.Query()
	listHosts(u, query)
	local := strings.HasPrefix(query.Get("host"), "/")
	if query.Get("sslmode") == "" && !local {
		return "", errors.New("database URL: expected sslmode in it, such as ?sslmode=verify-full (sslmode=disable only on a trusted network)")
	}
	if local && query.Get("sslmode") == "" {
		query.Set("sslmode", "disable")
	}
	if pgbouncer {
		query.Set("binary_parameters", "yes") // one round trip a query: no named statement to lose
	} else {
		setLimits(query, patience)
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// listHosts takes several hosts with ports, host1:5432,host2:5432, as libpq does.
// lib/pq (v1.12.3) takes the ports for parts of the names.
func listHosts(u *url.URL, query url.Values) {
	if !strings.Contains(u.Host, ",") || query.Has("host") {
		return
	}
	var hosts, ports []string
	for one := range strings.SplitSeq(u.Host, ",") {
		host, port, err := net.SplitHostPort(one)
		if err != nil {
			host, port = strings.Trim(one, "[]"), "5432"
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	u.Host = ""
	query.Set("host", strings.Join(hosts, ","))
	query.Set("port", strings.Join(ports, ","))
}

// setLimits has the server end what we would not hear the end of. PgBouncer
// refuses such settings.
func setLimits(query url.Values, patience time.Duration) {
	// A process that is frozen within a transaction must not keep the row of the
	// lease, or the lock of the inbox, from all others.
	if query.Get(idleInTransaction) == "" {
		query.Set(idleInTransaction, "10s")
	}
	// A statement that we gave up reading from would wait on at the server for its
	// lock, and hold a connection slot there: so the server gives up first.
	if query.Get(lockTimeout) == "" {
		query.Set(lockTimeout, strconv.FormatInt((patience*4/5).Milliseconds(), 10))
	}
}
