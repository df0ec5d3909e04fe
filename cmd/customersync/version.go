package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// build is what a program knows of its making.
type build struct {
	Version  string `json:"version"`  // of the release; else what go build made up, or (devel)
	Revision string `json:"revision"` // of the source; "" if it was not known
	Time     string `json:"time"`     // of that revision
	Modified bool   `json:"modified"` // since that revision
	Go       string `json:"go"`
}

// Run says which build this is.
func (v versionCmd) Run(p process) error {
	b := thisBuild()
	if v.JSON {
		p.printJSON(b)
		return nil
	}
	modified := ""
	if b.Modified {
		modified = ", with changes since"
	}
	_, err := fmt.Fprintf(p.stdout, "customersync %s%s%s, %s\n", b.Version, prefixed(", revision ", b.Revision), modified, b.Go)
	return err
}

func thisBuild() build {
	b := build{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = cmp.Or(info.Main.Version, b.Version), info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
