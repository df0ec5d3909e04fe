package main

import (
	"fmt"
	"text/tabwriter"
)

type configCmd struct {
	List  configListCmd  `cmd:"" default:"withargs" help:"List the settings."`
	Print configPrintCmd `cmd:"" help:"Print the value of each setting and where it comes from; secrets are not shown."`
}

type configListCmd struct {
	Markdown bool `help:"Print the table of deploy/docs/configuration.md." xor:"how"`
	JSON     bool `help:"Print JSON, a line for each setting." xor:"how"`
}

// Run lists the settings.
func (v configListCmd) Run(p process, s *settings) error {
	if v.Markdown {
		_, err := fmt.Fprint(p.stdout, s.markdown())
		return err
	}
	for _, one := range s.list() {
		if v.JSON {
			p.printJSON(map[string]any{"setting": one.key, "environment": one.env, "flag": one.flag(), "default": one.preset, "secret": one.secret, "help": one.help})
			continue
		}
		_, err := fmt.Fprintf(p.stdout, "%s\n    %s\n    file: %s%s%s\n", one.env, one.help, one.key, prefixed("   flag: ", one.flag()), prefixed("   default: ", one.preset))
		if err != nil {
			return err
		}
	}
	return nil
}

type configPrintCmd struct {
	JSON bool `help:"Print JSON, a line for each setting."`
}

// Run prints what the settings come to. Faults do not keep any from being printed;
// they are named behind, as serve would.
func (v configPrintCmd) Run(p process, s *settings) error {
	loaded, _ := s.load(p.getenv) // its faults are among those of config
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, one := range s.list() {
		one = loaded[one.key]
		if v.JSON {
			p.printJSON(map[string]any{"setting": one.key, "environment": one.env, "value": one.shown(), "secret": one.secret, "source": one.from()})
			continue
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", one.env, one.shown(), one.from()) // told by Flush
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := s.config(p.getenv, needsAll)
	return err
}

// masked stands for a secret that is set: neither its text nor its length is told.
const masked = "***"

// shown is a setting's value as anyone may read it.
func (s setting) shown() string {
	if s.secret && s.value != "" {
		return masked
	}
	return s.value
}

// from says where the value comes from.
func (s setting) from() string {
	if s.source == "" {
		return "not set"
	}
	return s.source
}
