// Command customersync keeps a company's customers in step with Auth0. See
// README.md, or customersync --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

// Exit codes. Scripts rely on them.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2 // wrong command line or configuration: nothing was started
	exitPartial = 3 // some customers could not be looked at, or wait for a person
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	p := process{getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.exitCode(p.run(ctx, os.Args[1:])))
}

// process is what a verb has of the world around it.
type process struct {
	getenv func(string) string
	stdout io.Writer
	stderr io.Writer
	ready  func(addresses) // called once a daemon serves; may be nil
}

// cli is the command line.
type cli struct {
	Settings settings `embed:"" group:"settings"`

	Serve     serveCmd     `cmd:"" help:"Run the daemon: API, webhook target and worker."`
	Sync      syncCmd      `cmd:"" help:"Look once at every customer that is due, then end."`
	Reconcile reconcileCmd `cmd:"" help:"Hold all customers against all users of the tenant, both ways."`
	Explain   explainCmd   `cmd:"" help:"Say why a customer is in its state."`
	Setup     setupCmd     `cmd:"" help:"Set up the Auth0 tenant."`
	Check     checkCmd     `cmd:"" help:"Check the configuration and, with --online, all that the daemon needs of the world."`
	Status    statusCmd    `cmd:"" help:"Say how the whole stands, and whether a person is needed."`
	Health    healthCmd    `cmd:"" help:"Ask the daemon of this machine whether it can serve; exit code 1 if not."`
	Conflicts conflictsCmd `cmd:"" help:"List and settle what only a person can decide."`
	Customers customersCmd `cmd:"" help:"Write customers to a file, or make them of one."`
	Events    eventsCmd    `cmd:"" help:"List what happened to customers, and look after its delivery to other systems."`
	Keys      keysCmd      `cmd:"" help:"Make, list and revoke app keys."`
	Config    configCmd    `cmd:"" help:"List the settings, and print what they come to here."`
	Webhook   webhookCmd   `cmd:"" help:"Try the webhook."`
	Metrics   metricsCmd   `cmd:"" help:"List the metrics of the daemon."`
	Demo      demoCmd      `cmd:"" help:"Show the main job on a throw-away database and a simulated Auth0."`
	Sim       simCmd       `cmd:"" help:"Run a simulated Auth0 tenant on loopback."`
	Version   versionCmd   `cmd:"" help:"Say which build this is."`

	Completion kongcompletion.Completion `cmd:"" help:"Say how verbs and flags are completed in bash, zsh or fish; with -c, print the code for that."`
}

const description = `Keeps the customers in your Postgres in step with the users in Auth0.

Settings come from flags, then the environment, then the YAML file named by --config. "customersync config" lists them, "customersync VERB --help" shows how a verb is called.

Exit codes: 0 ok, 1 failed, 2 wrong command line or configuration, 3 partly done, or waiting for a person.`

// run parses the command line and runs its verb. It is what main calls, and tests.
func (p process) run(ctx context.Context, args []string) error {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("customersync"),
		kong.Description(description),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "settings", Title: settingsTitle}}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)
	if err != nil {
		return err
	}
	if err := teach(parser); err != nil {
		return err
	}
	kongcompletion.Register(parser) // a shell that asks what may come next is answered, and the program ends
	verb, err := parser.Parse(args)
	if exited >= 0 { // --help has been answered
		return nil
	}
	if err != nil {
		return wrongUsage(err)
	}
	return verb.Run(&c.Settings)
}

// usageError is an error of whoever called the program.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errPartial ends a run that could not do all there was to do.
var errPartial = errors.New("partly done")

// exitCode tells the user about err and says how to exit.
func (p process) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(p.stderr, "customersync:", err) // nowhere left to report to
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errPartial), errors.Is(err, errNeedsPerson):
		return exitPartial
	}
	return exitFailed
}
