package customer

import "time"

// EventDelivery is an event on its way to a target.
type EventDelivery struct {
	Target   string
	Event    Event
	Attempts int
	First    time.Time // of the attempts; zero: there was none
	Next     time.Time // zero: it waits behind another of its customer, or is dead
	Dead     time.Time // given up then; zero: it is not
	Note     string    // why the last attempt failed
}

// EventWork is what there is to do for a target.
type EventWork struct {
	Now      time.Time       // by the database's clock
	Due      []EventDelivery // to be tried again, one for each customer
	Position int64           // up to where the feed was read
	Fresh    []Event         // what comes next
	// Waiting are the customers of Fresh with events that were not delivered yet:
	// theirs queue up behind.
	Waiting map[ID]bool
}

// EventOutcome is what came of one attempt.
type EventOutcome struct {
	Event Event
	Note  string        // why it failed; "": it was delivered
	Again time.Duration // when to try again, after a failure
	Dead  bool          // not again
}

// EventReport is what came of an EventWork.
type EventReport struct {
	Due      []EventOutcome
	From, To int64          // how the position moves
	Failed   []EventOutcome // of the fresh ones, those that were not delivered
	Behind   []Event        // of the fresh ones, those that were not tried
}

// EventTarget is how far the deliveries to a target have come.
type EventTarget struct {
	Name    string
	Unread  int64     // events in the feed that were not tried, about
	Waiting int       // to be tried again, or behind such
	Dead    int       // given up
	Oldest  time.Time // when the oldest event happened that is unread or waiting; zero: there is none
}
