package auth0sync

import (
	"context"
	"fmt"
	"net/http"
)

// DeleteUser deletes a user with all its identities, for good. One that is not there
// is no error: Auth0 answers alike.
// https://auth0.com/docs/api/management/v2/users/delete-users-by-id
func (d *Directory) DeleteUser(ctx context.Context, userID string) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	res, err := d.send(ctx, http.MethodDelete, []string{"users", userID}, nil, nil)
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // its status says it all
	if res.StatusCode == http.StatusNotFound {
		return nil
	}
	if err := statusError(res.StatusCode); err != nil {
		return fmt.Errorf("delete user: %w", needs(err, "delete:users"))
	}
	return nil
}
