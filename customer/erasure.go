package customer

import "time"

// Erasure is the proof that a customer was erased. It holds nothing personal.
type Erasure struct {
	Customer  ID
	At        time.Time
	Actor     string // who did it, as in a Cause
	RequestID string
	Removed   map[string]int // rows that were deleted or emptied, by table
	// Others are customers, live or closed, with the same address or Auth0 user. They
	// were left alone: whoever means the person, and not the record, erases them too.
	Others []ID
}
