package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

type conflictsCmd struct {
	List    conflictsListCmd    `cmd:"" help:"List the customers that wait for a person, with the Auth0 users in question."`
	Resolve conflictsResolveCmd `cmd:"" help:"Settle one: link a user, close the customer, or have it looked at again."`
}

type conflictsListCmd struct {
	JSON bool `help:"Print JSON, a line for each."`
}

const conflictsPage = 500 // customers a query

// Run lists conflicts.
func (v conflictsListCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		var after customer.ID
		for {
			page, err := st.Conflicts(ctx, after, conflictsPage)
			if err != nil {
				return err
			}
			for _, c := range page {
				if err := v.print(p, c); err != nil {
					return err
				}
				after = c.ID
			}
			if len(page) < conflictsPage {
				return nil
			}
		}
	})
}

func (v conflictsListCmd) print(p process, c customer.Conflict) error {
	if v.JSON {
		p.printJSON(map[string]any{
			"customer_id": c.ID, "email_address": c.Email.Address, "reason": c.Reason, "sentence": c.Reason.Meaning().Sentence,
			"auth0_asked_at": c.AskedAt, "candidates": candidatesJSON(c.Candidates),
		})
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "%s  <%s>  %s: %s\n%s\n", c.ID, c.Email.Address, c.Reason, c.Reason.Meaning().Sentence, candidatesInWords(c.Candidates))
	return err
}

func candidatesJSON(candidates []customer.Candidate) []map[string]any {
	list := []map[string]any{}
	for _, c := range candidates {
		list = append(list, map[string]any{
			"auth_user_id": c.AuthUserID, "connections": c.Connections, "email_verified": c.EmailVerified,
			"created_at": c.CreatedAt, "held_by": c.Holder,
		})
	}
	return list
}

// candidatesInWords has a line for each Auth0 user of a conflict.
func candidatesInWords(candidates []customer.Candidate) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range candidates {
		verified := "not verified"
		if c.EmailVerified {
			verified = "verified"
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\tmade %s\t%s\n", c.AuthUserID, strings.Join(c.Connections, ", "), verified,
			c.CreatedAt.Format(time.RFC3339), prefixed("is of customer ", string(c.Holder))) // to memory
	}
	_ = table.Flush() // to memory
	return b.String()
}

type conflictsResolveCmd struct {
	Customer  string `arg:"" help:"customer_id."`
	Link      string `help:"Link this Auth0 user, one of the candidates." placeholder:"USER" xor:"what" required:""`
	Close     bool   `help:"Close the customer." xor:"what" required:""`
	LookAgain bool   `help:"Have the daemon ask Auth0 again at once." xor:"what" required:""`
	Why       string `help:"The reason, for the history; not needed to look again." placeholder:"TEXT"`
	JSON      bool   `help:"Print JSON."`
}

// Run settles a conflict as the operator says.
func (v conflictsResolveCmd) Run(ctx context.Context, p process, s *settings) error {
	id, err := customer.ParseID(v.Customer)
	if err != nil {
		return usageError{err}
	}
	cause := customer.Cause{Kind: customer.ByOperator, Actor: operator()}
	if !v.LookAgain {
		if cause.Why, err = customer.ParseWhy(v.Why); err != nil {
			return usageError{fmt.Errorf("--%w", err)}
		}
	}
	return p.withStore(ctx, s, func(st *store.Store) error {
		said, err := v.resolve(ctx, st, id, cause)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if v.JSON {
			p.printJSON(map[string]any{"customer_id": id, "resolution": said})
			return nil
		}
		_, err = fmt.Fprintf(p.stdout, "%s: %s.\n", id, said)
		return err
	})
}

func (v conflictsResolveCmd) resolve(ctx context.Context, st *store.Store, id customer.ID, cause customer.Cause) (said string, err error) {
	conflict, err := st.Conflict(ctx, id)
	switch {
	case err != nil:
		return "", err
	case v.LookAgain:
		return "is looked at again by the daemon", st.LookNow(ctx, id)
	case v.Close:
		return "closed", quicker(st.CloseCustomer(ctx, id, conflict.Version, cause))
	}
	patch, err := conflict.Choose(v.Link)
	if err != nil {
		return "", err
	}
	_, err = st.Patch(ctx, id, patch, conflict.Version, cause)
	return "linked to " + v.Link, quicker(err)
}

// quicker says of a customer that changed after it was read that it is not in
// conflict any more.
func quicker(err error) error {
	if errors.Is(err, customer.ErrStale) || errors.Is(err, customer.ErrInactive) {
		return customer.ErrNoConflict
	}
	return err
}

// operator is whoever runs the program, for the history.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}
