package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

type customersCmd struct {
	Export customersExportCmd `cmd:"" help:"Write all customers as CSV or NDJSON."`
	Import customersImportCmd `cmd:"" help:"Make customers of a CSV or NDJSON file."`
}

type customersExportCmd struct {
	Format string `help:"csv or ndjson; without it, by the name of the file, else ndjson." enum:"csv,ndjson," default:""`
	Out    string `help:"File to write, which appears once it is whole; without it, the standard output." placeholder:"FILE"`
}

const exportPage = 1000 // customers a query

// Run writes customers in the order of their making.
func (v customersExportCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		format := cmp.Or(v.Format, formatOf(v.Out), formatNDJSON)
		if v.Out == "" {
			return exportCustomers(ctx, st, p.stdout, format)
		}
		return writeWhole(v.Out, func(w io.Writer) error { return exportCustomers(ctx, st, w, format) })
	})
}

func exportCustomers(ctx context.Context, st *store.Store, w io.Writer, format string) error {
	out := newCustomerWriter(w, format)
	last := customer.ID("")
	for {
		page, err := st.Customers(ctx, last, exportPage)
		if err != nil {
			return err
		}
		for _, c := range page {
			if err := out.write(c); err != nil {
				return fmt.Errorf("write customers: %w", err)
			}
			last = c.ID
		}
		if len(page) < exportPage {
			return out.flush()
		}
	}
}

// writeWhole makes a file that is there wholly or not at all. It may hold personal
// data: nobody else may read it.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the error that is told matters more
		}
	}()
	if err = errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

type customersImportCmd struct {
	File    string `arg:"" help:"CSV with a header line, or NDJSON, of first_name, last_name and email_address."`
	Format  string `help:"csv or ndjson; without it, by the name of the file." enum:"csv,ndjson," default:""`
	DryRun  bool   `help:"Name the rows that cannot be imported, and import none."`
	SkipBad bool   `help:"Import the others. Without it a file with such a row is not imported at all."`
	JSON    bool   `help:"Print JSON."`
}

// importTogether is how many rows are written in one transaction.
const importTogether = 500

// importTally is what came of a file.
type importTally struct {
	Rows    int `json:"rows"`
	Created int `json:"created"`
	There   int `json:"already_there"`
	Erased  int `json:"erased"`
	Bad     int `json:"bad"`
}

// Run reads the file twice: first to find rows that are wrong, before anything is
// written. A run that is cut short may be repeated: who is there already is left as
// they are.
func (v customersImportCmd) Run(ctx context.Context, p process, s *settings) error {
	format := cmp.Or(v.Format, formatOf(v.File))
	if format == "" {
		return usageError{errors.New("--format: expected csv or ndjson: the name of the file does not tell")}
	}
	var tally importTally
	err := eachDraft(v.File, format, nil, func(line int, _ customer.Draft, bad error) error {
		tally.Rows++
		if bad != nil {
			tally.Bad++
			p.printBad(line, bad)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case v.DryRun || tally.Bad > 0 && !v.SkipBad:
		p.printTally(tally, v)
		if tally.Bad > 0 {
			return fmt.Errorf("%d of %d rows cannot be imported; none was (--skip-bad imports the others)", tally.Bad, tally.Rows)
		}
		return nil
	}
	err = p.withStore(ctx, s, func(st *store.Store) error { return v.into(ctx, p, st, format, &tally) })
	p.printTally(tally, v)
	if err == nil && tally.Bad+tally.Erased > 0 {
		err = errPartial
	}
	return err
}

func (v customersImportCmd) into(ctx context.Context, p process, st *store.Store, format string, tally *importTally) error {
	cause := customer.Cause{Kind: customer.ByOperator, Actor: "import", Why: "imported from a list"}
	bar := p.bar(int64(tally.Rows), "customers")
	var batch []customer.Draft
	var lines []int
	write := func() error {
		came, err := st.Import(ctx, batch, cause)
		if err != nil {
			return err
		}
		for i := range came {
			switch came[i] {
			case customer.ImportMade:
				tally.Created++
			case customer.ImportThere:
				tally.There++
			case customer.ImportErased:
				tally.Erased++
				_, _ = fmt.Fprintf(p.stderr, "line %d: an erased customer had this address; only an app brings them back\n", lines[i]) // nowhere left to report to
			}
		}
		if bar != nil {
			_ = bar.Add(len(batch)) // it is only for show
		}
		batch, lines = batch[:0], lines[:0]
		return nil
	}
	err := eachDraft(v.File, format, func() customer.ID { return customer.ID(uuid.Must(uuid.NewV7()).String()) }, func(line int, d customer.Draft, bad error) error {
		if bad != nil {
			return nil // told before
		}
		if batch, lines = append(batch, d), append(lines, line); len(batch) < importTogether {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	return write()
}

func (p process) printBad(line int, bad error) {
	_, _ = fmt.Fprintf(p.stderr, "line %d: %s\n", line, strings.ReplaceAll(bad.Error(), "\n", ", ")) // nowhere left to report to
}

func (p process) printTally(t importTally, v customersImportCmd) {
	if v.JSON {
		p.printJSON(t)
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%d rows: %d created, %d already there, %d erased before, %d bad\n", t.Rows, t.Created, t.There, t.Erased, t.Bad) // nowhere left to report to
}

// bar is a progress bar on a terminal; nil elsewhere.
func (p process) bar(total int64, what string) *progressbar.ProgressBar {
	file, ok := p.stderr.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(file), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

// eachDraft reads a file row by row; newID is nil if no customer is made of them.
func eachDraft(path, format string, newID func() customer.ID, do func(line int, d customer.Draft, bad error) error) (err error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return readRows(bufio.NewReader(file), format, func(line int, fields map[string]string, bad error) error {
		if bad != nil {
			return do(line, customer.Draft{}, bad)
		}
		d, bad := draftOf(fields)
		if newID != nil {
			d.ID = newID()
		}
		return do(line, d, bad)
	})
}
