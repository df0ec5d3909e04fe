// Package auth0 is what customersync ships for Auth0: the Actions in this folder.
// They are tested as they run, in Node.js, against a server of the test.
package auth0

import _ "embed" // the Actions

// PostUserRegistration and PostLogin are the code of the Actions, by trigger.
var (
	//go:embed post-user-registration.js
	PostUserRegistration string //nolint:gochecknoglobals // embedded
	//go:embed post-login.js
	PostLogin string //nolint:gochecknoglobals // embedded
)
