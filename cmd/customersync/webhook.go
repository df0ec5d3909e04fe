package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

type webhookCmd struct {
	Send webhookSendCmd `cmd:"" help:"Sign a sample as our Action does and post it; it changes nothing."`
}

type webhookSendCmd struct {
	URL  string `arg:"" optional:"" help:"Where Auth0 posts to; without it, the daemon of this machine."`
	JSON bool   `help:"Print JSON."`
}

// Run posts a sample and says what became of it; an error unless it was taken in.
func (v webhookSendCmd) Run(ctx context.Context, p process, s *settings) error {
	c, err := s.config(p.getenv, needsDatabase)
	if err != nil {
		return err
	}
	url := cmp.Or(v.URL, localWebhook(c.listen))
	switch {
	case len(c.actionSecrets) == 0:
		return usageError{errors.New("there is no secret to sign a sample with: set CUSTOMERSYNC_ACTION_SECRETS to what the Action has")}
	case url == "":
		return usageError{fmt.Errorf("no URL, and CUSTOMERSYNC_LISTEN %s does not tell the port of this machine's daemon: say where to post to", c.listen)}
	}
	says, toDo := sample(ctx, url, c.actionSecrets[0])
	if v.JSON {
		p.printJSON(map[string]any{"url": url, "taken_in": toDo == "", "says": says, "to_do": toDo})
	}
	if toDo != "" {
		return fmt.Errorf("%s: %s", says, toDo)
	}
	if !v.JSON {
		_, err = fmt.Fprintln(p.stdout, says)
	}
	return err
}
