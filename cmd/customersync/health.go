package main

import "context"

type healthCmd struct {
	Live bool `help:"Ask only whether the process answers, not whether it can serve."`
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
	return probe(ctx, c.opsListen, path)
}
