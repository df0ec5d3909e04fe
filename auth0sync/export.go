package auth0sync

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ahiko-io/customersync/customer"
)

const (
	// exportWithin is how long Auth0 may work on an export.
	exportWithin = time.Hour
	// longestPoll is the longest pause between two looks at a job.
	longestPoll = 30 * time.Second
	// downloads is how often a download that breaks off is tried, each time by a
	// new link.
	downloads = 3
	// longestLine is the most bytes a user may have in an export.
	longestLine = 1 << 20
)

// Export lists every user of the tenant by an export job. It goes on with the job
// of that id, if it is still there, else makes one and tells started of it. The
// file is streamed: memory does not grow with the tenant. The error comes last,
// with a zero User; ErrNoExport means that Windows may do better.
//
// The users are as they were at some moment after the job was made, not all at
// the same one; SeenAt is the earliest it may have been.
// https://auth0.com/docs/manage-users/user-migration/bulk-user-exports
func (d *Directory) Export(ctx context.Context, job string, started func(job string) error) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		j, err := d.exportJob(ctx, job, started)
		if err != nil {
			yield(User{}, noExport(ctx, err))
			return
		}
		done, stopped := 0, false
		for attempt := 1; ; attempt++ {
			done, stopped, err = d.download(ctx, j, done, yield)
			if err == nil || stopped || attempt == downloads || ctx.Err() != nil {
				break
			}
			j, err = d.awaitJob(ctx, j.ID) // for another link
			if err != nil {
				break
			}
		}
		if err != nil && !stopped {
			yield(User{}, noExport(ctx, err))
		}
	}
}

// noExport is what an export came to nothing for.
func noExport(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrBudget) || errors.Is(err, customer.ErrLeaseLost) || errors.Is(err, customer.ErrUnavailable) {
		return fmt.Errorf("export: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrNoExport, err)
}

// exportJobJSON is a job as Auth0 describes it.
type exportJobJSON struct {
	ID        string  `json:"id"`
	Status    string  `json:"status"`
	Location  string  `json:"location"`
	TimeLeft  float64 `json:"time_left_seconds"`
	CreatedAt string  `json:"created_at"`
}

// exportJob is a job that has come to its end.
func (d *Directory) exportJob(ctx context.Context, id string, started func(string) error) (exportJobJSON, error) {
	if id != "" {
		job, err := d.awaitJob(ctx, id)
		if err == nil || ctx.Err() != nil {
			return job, err
		}
	}
	type field struct {
		Name string `json:"name"`
		As   string `json:"export_as,omitempty"`
	}
	var job exportJobJSON
	_, err := d.call(ctx, http.MethodPost, []string{"jobs", "users-exports"}, nil, map[string]any{
		"format": "json",
		"fields": []field{
			{Name: "user_id"}, {Name: "email"}, {Name: "email_verified"}, {Name: "identities"}, {Name: "blocked"},
			{Name: "created_at"}, {Name: "updated_at"}, {Name: "app_metadata.customer_id", As: "customer_id"},
		},
	}, &job)
	if err != nil {
		return exportJobJSON{}, fmt.Errorf("make a job: %w", err)
	}
	if job.ID == "" {
		return exportJobJSON{}, fmt.Errorf("make a job: %w: a job without an id", ErrUnavailable)
	}
	if err := started(job.ID); err != nil {
		return exportJobJSON{}, err
	}
	return d.awaitJob(ctx, job.ID)
}

// awaitJob looks at a job, less and less often, until its file is there.
func (d *Directory) awaitJob(ctx context.Context, id string) (exportJobJSON, error) {
	for waited, pause := time.Duration(0), time.Second; ; pause = min(2*pause, longestPoll) {
		var job exportJobJSON
		if _, err := d.get(ctx, []string{"jobs", id}, nil, &job); err != nil {
			return exportJobJSON{}, fmt.Errorf("look at job: %w", err)
		}
		switch job.Status {
		case "completed":
			return job, nil
		case "failed":
			return exportJobJSON{}, fmt.Errorf("%w: the job failed", ErrUnavailable)
		}
		if waited > exportWithin {
			return exportJobJSON{}, fmt.Errorf("%w: the job did not end within %s", ErrUnavailable, exportWithin)
		}
		left := time.Duration(job.TimeLeft * float64(time.Second))
		delay := min(max(pause, left), longestPoll)
		if err := d.wait(ctx, delay); err != nil {
			return exportJobJSON{}, err
		}
		waited += delay
	}
}

// download reads the job's file, but for the users that an earlier download gave.
// It returns how many users were given in all, and whether the caller had enough.
func (d *Directory) download(ctx context.Context, j exportJobJSON, given int, yield func(User, error) bool) (done int, stopped bool, err error) {
	body, err := d.open(ctx, j.Location)
	if err != nil {
		return given, false, err
	}
	unpacked, stop := ahead(body)
	defer stop() // read to its end, or given up
	seen, err := time.Parse(time.RFC3339, j.CreatedAt)
	if err != nil {
		return given, false, fmt.Errorf("%w: a job without its time", ErrUnavailable)
	}
	file := bufio.NewScanner(unpacked)
	file.Buffer(make([]byte, 0, 2*aheadBy), longestLine)
	read := lines{seen: seen.UTC()}
	line := 0
	for file.Scan() {
		if len(bytes.TrimSpace(file.Bytes())) == 0 {
			continue
		}
		if line++; line <= given {
			continue
		}
		u, err := read.user(file.Bytes())
		if err != nil {
			return line - 1, false, fmt.Errorf("line %d: %w", line, err)
		}
		if !yield(u, nil) {
			return line, true, nil
		}
	}
	if err := file.Err(); err != nil {
		return max(line, given), false, fmt.Errorf("%w: after line %d: %w", ErrUnavailable, line, err)
	}
	return line, false, nil
}

// open starts a download. The link is its own permission: our token is not sent
// to wherever it leads.
func (d *Directory) open(ctx context.Context, location string) (io.ReadCloser, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.Scheme != "https" && d.config.BaseURL == "" {
		return nil, fmt.Errorf("%w: a job without a link to its file", ErrUnavailable)
	}
	ctx, cancel := context.WithCancel(ctx)
	body, err := d.fetch(ctx, location)
	if err != nil {
		cancel()
		return nil, err
	}
	patient := &patientBody{ReadCloser: body, quiet: quietFor, cancel: cancel}
	unpacked, err := gunzip(patient)
	if err != nil {
		return nil, errors.Join(err, patient.Close())
	}
	return unpacked, nil
}

func (d *Directory) fetch(ctx context.Context, location string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: a link that is none", ErrUnavailable)
	}
	res, err := d.files.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // nothing in it is of use
		return nil, fmt.Errorf("%w: download: status %d", ErrUnavailable, res.StatusCode)
	}
	return res.Body, nil
}

// gunzip unpacks a file, unless somebody on the way did it already.
func gunzip(body io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(body, 64<<10)
	magic, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: download: %w", ErrUnavailable, err)
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return readCloser{buffered, body}, nil
	}
	unpacked, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("%w: download: %w", ErrUnavailable, err)
	}
	return readCloser{unpacked, body}, nil
}

// aheadBy is how much of a file is unpacked before it is asked for.
const aheadBy = 128 << 10

// ahead has a file fetched and unpacked while what came before is read, by a
// goroutine of its own. stop closes the file, and returns when that one has ended.
func ahead(file io.ReadCloser) (unpacked io.Reader, stop func()) {
	reader, writer := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A file that the library cannot bear must not end the process, here where
		// nobody else recovers.
		defer func() {
			if r := recover(); r != nil {
				_ = writer.CloseWithError(fmt.Errorf("%w: unpacking met a bug: %v", ErrUnavailable, r)) // never fails
			}
		}()
		block := bufio.NewWriterSize(writer, aheadBy) // or each few lines would wake the reader
		_, err := block.ReadFrom(file)
		_ = block.Flush()              // fails if nobody reads
		_ = writer.CloseWithError(err) // never fails; nil is the end of the file
	}()
	return reader, func() {
		_ = reader.Close() // never fails
		_ = file.Close()   // what was wanted of it is read
		<-done
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// quietFor is how long a download may bring nothing.
const quietFor = 30 * time.Second

// patientBody may take as long as it likes while it brings something.
type patientBody struct {
	io.ReadCloser
	quiet  time.Duration
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	quiet := time.AfterFunc(b.quiet, b.cancel)
	defer quiet.Stop()
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (b *patientBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
