package customer

import "time"

// Operator is a person before the operator page, as a verified access token says.
type Operator struct {
	Subject     string   // sub
	Application string   // the one that the token was issued to
	Permissions []string // by roles; what the application asked for itself does not count
	Expires     time.Time
}
