package main

import (
	"context"
	"strings"
)

type healthCmd struct {
	Live bool `help:"Ask only whether the process answers, not whether it can serve."`
	JSON bool `help:"Print JSON."`
}

// Run asks the daemon of this machine how it is, for those who can run a program but
// not call an address: a container's health check.
func (v healthCmd) Run(ctx context.Context, p process, s *settings) error {
	c, err := s.config(p.getenv, needsDatabase)
	if err != nil {
		return err
	}
	path := "/readyz"
	if v.Live {
		path = "/livez"
	}
	err = probe(ctx, c.opsListen, path)
	if v.JSON {
		says := ""
		if err != nil {
			says = strings.TrimSpace(err.Error())
		}
		p.printJSON(map[string]any{"asked": path, "healthy": err == nil, "says": says})
	}
	return err
}
