package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// errMadeAlready says that a customer with this very id is there: the answer to an
// earlier commit was lost, and it was done after all.
var errMadeAlready = errors.New("customer is made already")

// transient reports whether trying again at once may help: the connection was
// cut, the server is going down or coming up, or two transactions met.
func transient(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	var pqErr *pq.Error
	if errors.As(err, &pqErr) {
		switch {
		case pqErr.Code.Class() == "08", strings.HasPrefix(string(pqErr.Code), "57P"):
			return true
		case pqErr.Code == "40001", pqErr.Code == "40P01", pqErr.Code == "25006", isOutdated(err):
			return true
		}
		return false
	}
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// translate turns what the driver says into the words of package customer. It
// never passes on a server's Detail, which holds row values.
func translate(err error) error {
	var pqErr *pq.Error
	var netErr net.Error
	var connecting connectError
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return customer.ErrNotFound
	case errors.As(err, &pqErr):
		return translateServer(pqErr)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer in time", customer.ErrUnavailable)
	case transient(err), errors.As(err, &connecting), errors.As(err, &netErr), strings.Contains(err.Error(), "could not connect to any of the hosts"):
		return fmt.Errorf("%w: %w", customer.ErrUnavailable, err)
	}
	return err
}

func translateServer(err *pq.Error) error {
	switch err.Constraint {
	case "customers_live_email":
		return customer.ErrEmailTaken
	case "customers_live_auth_user":
		return customer.ErrAuthUserTaken
	case "plans_busy":
		return customer.ErrPlanBusy
	case "customers_pkey":
		return errMadeAlready
	}
	// Without Detail, Where and the rest, which hold row values; the messages of
	// class 22 (data exceptions) repeat the value too.
	plain := fmt.Errorf("postgres %s (%s)", err.Message, err.Code)
	if err.Code.Class() == "22" {
		plain = fmt.Errorf("postgres data exception (%s)", err.Code)
	}
	switch {
	case err.Code == "CS002":
		return customer.ErrInactive
	case unusable(err):
		return fmt.Errorf("%w: %w", customer.ErrUnavailable, plain)
	}
	return plain
}

// unusable reports whether the server as a whole is of no use now: down, full,
// out of connections, read-only, without our schema, or it refuses us.
func unusable(err *pq.Error) bool {
	switch err.Code.Class() {
	case "08", "28", "3D", "40", "53", "57", "58":
		return true
	}
	switch err.Code {
	case "25006", "42P01", "55P03", "42501":
		return true
	}
	return false
}
