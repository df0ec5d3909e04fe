package ops

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/ahiko-io/customersync/customer"
)

// What is not there, beside customers.
var (
	errNoPage = errors.New("no such page")
	errNoRun  = errors.New("no such run")
	errNoPlan = errors.New("no such plan")
)

func noRun(err error) error  { return absent(err, errNoRun) }
func noPlan(err error) error { return absent(err, errNoPlan) }

// absent says what it is that was not found.
func absent(err, what error) error {
	if errors.Is(err, customer.ErrNotFound) {
		return what
	}
	return fmt.Errorf("%w", err)
}

// told shows the errors of runs and plans; false: it is none of those.
func told(w http.ResponseWriter, err error) bool {
	for is, m := range map[error]struct {
		status int
		message
	}{
		errNoPage:             {http.StatusNotFound, message{"No such page", "Nothing is at this address."}},
		errNoRun:              {http.StatusNotFound, message{"No such run", "Runs are remembered for 30 days, and those that found nothing to do not at all."}},
		errNoPlan:             {http.StatusNotFound, message{"No such plan", "Another one has been made since. Nothing was done: look at it again."}},
		errNoPlanner:          {http.StatusServiceUnavailable, message{"Not from here", "This process only shows. Use customersync sync and customersync reconcile."}},
		customer.ErrPlanBusy:  {http.StatusConflict, message{"Under way", "A plan is being made or applied. Nothing was done: wait until it has ended."}},
		customer.ErrLeaseHeld: {http.StatusConflict, message{"Under way", "Another run is doing it now. Nothing more was done: look at the runs in a moment."}},
	} {
		if errors.Is(err, is) {
			render(w, m.status, "message", m.message)
			return true
		}
	}
	return false
}
