package auth0sync

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"time"
)

const (
	// firstWindow is how much time the first search covers.
	firstWindow = 90 * 24 * time.Hour
	// wholeEnough is how many users a window may have for the next one to be wider.
	wholeEnough = mostFound / 4
	rangeTime   = "2006-01-02T15:04:05.000Z"
)

// auth0Began is before any tenant there is.
var auth0Began = time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// Windows lists every user of the tenant by searches for when they were created:
// search gives 1000 users and no more, so windows of time are narrowed until each
// has fewer. It is eventually consistent, and costs a call for every 100 users.
// The error comes last, with a zero User.
// https://auth0.com/docs/manage-users/user-search/view-search-results-by-page
func (d *Directory) Windows(ctx context.Context) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		end := time.Now().Add(24 * time.Hour) // clocks differ, and users are made meanwhile
		for from, width := auth0Began, firstWindow; from.Before(end); {
			to := from.Add(width)
			found, err := d.searchAll(ctx, "created_at:["+from.Format(rangeTime)+" TO "+to.Format(rangeTime)+"}")
			if errors.Is(err, errTooBroad) && width > time.Millisecond {
				width = max(width/2, time.Millisecond).Truncate(time.Millisecond)
				continue
			}
			if err != nil {
				yield(User{}, fmt.Errorf("users created from %s to %s: %w", from.Format(rangeTime), to.Format(rangeTime), err))
				return
			}
			for _, u := range found {
				if !yield(u, nil) {
					return
				}
			}
			if from = to; len(found) < wholeEnough {
				width *= 2
			}
		}
	}
}

// Total is how many users search knows of: what a listing is compared with. Like
// all of search it may lag behind.
func (d *Directory) Total(ctx context.Context) (int, error) {
	var answer struct {
		Total *int `json:"total"`
	}
	_, err := d.get(ctx, []string{"users"}, url.Values{
		"search_engine": {"v3"}, "include_totals": {"true"}, "per_page": {"1"}, "page": {"0"},
	}, &answer)
	switch {
	case err != nil:
		return 0, fmt.Errorf("count users: %w", err)
	case answer.Total == nil:
		return 0, fmt.Errorf("count users: %w: no total in the answer", ErrUnavailable)
	}
	return *answer.Total, nil
}
