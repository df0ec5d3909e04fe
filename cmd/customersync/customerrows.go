package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// Formats of files with customers.
const (
	formatCSV    = "csv"
	formatNDJSON = "ndjson"
)

// formatOf tells the format by a file's name; "" if it does not.
func formatOf(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return formatCSV
	case ".ndjson", ".jsonl":
		return formatNDJSON
	}
	return ""
}

// imported are the columns of a file to import.
func imported() []string { return []string{"first_name", "last_name", "email_address"} }

// draftOf makes a draft of a row's fields. Each must have an address: it is what tells
// whether the customer is there already.
func draftOf(fields map[string]string) (d customer.Draft, err error) {
	d.CreatedBy = "import"
	var errs [3]error
	d.FirstName, errs[0] = customer.ParseName("first_name", fields["first_name"])
	d.LastName, errs[1] = customer.ParseName("last_name", fields["last_name"])
	d.Email, errs[2] = customer.ParseEmail(fields["email_address"])
	return d, errors.Join(errs[:]...)
}

// longestRow bounds a line, so that a file without line ends takes no memory.
const longestRow = 64 << 10 // bytes

// readRows calls do for each row, with its line and what is in it or what is wrong
// with it. An error of readRows itself is about the whole file, or what do returned.
func readRows(r *bufio.Reader, format string, do func(line int, fields map[string]string, err error) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestRow)
	parse := parseObject
	line := 0
	if format == formatCSV {
		line++
		if !lines.Scan() {
			return errors.Join(errors.New("the file is empty: expected a header line with "+strings.Join(imported(), ",")), lines.Err())
		}
		header, err := readHeader(strings.TrimPrefix(lines.Text(), "\ufeff")) // as spreadsheets write it
		if err != nil {
			return fmt.Errorf("line 1: %w", err)
		}
		parse = func(text string) (map[string]string, error) { return parseRecord(header, text) }
	}
	for lines.Scan() {
		line++
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		fields, err := parse(lines.Text())
		if err := do(line, fields, err); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	return nil
}

func readHeader(text string) ([]string, error) {
	header, err := recordOf(text)
	if err != nil {
		return nil, err
	}
	for i, name := range header {
		if !slices.Contains(imported(), name) || slices.Contains(header[:i], name) {
			return nil, fmt.Errorf("column %d is not imported, or there twice: expected %s, each once", i+1, strings.Join(imported(), ","))
		}
	}
	if len(header) != len(imported()) {
		return nil, fmt.Errorf("expected the columns %s", strings.Join(imported(), ","))
	}
	return header, nil
}

func parseRecord(header []string, text string) (map[string]string, error) {
	record, err := recordOf(text)
	switch {
	case err != nil:
		return nil, err
	case len(record) != len(header):
		return nil, fmt.Errorf("has %d columns: expected %d", len(record), len(header))
	}
	fields := make(map[string]string, len(header))
	for i, name := range header {
		fields[name] = record[i]
	}
	return fields, nil
}

// recordOf reads one line of CSV (RFC 4180). No field may go over a line's end: no
// name and no address has one.
func recordOf(text string) ([]string, error) {
	record, err := csv.NewReader(strings.NewReader(text)).Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return nil, fmt.Errorf("column %d: %w", parse.Column, parse.Err) // the line is that of the file
	}
	return record, err
}

// parseObject reads a line of NDJSON: an object of texts, with the very names, each once.
func parseObject(text string) (map[string]string, error) {
	if !utf8.ValidString(text) { // the decoder would replace what is not
		return nil, errors.New("must be UTF-8")
	}
	d := json.NewDecoder(strings.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("expected a JSON object")
	}
	fields := map[string]string{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, errors.New("expected a JSON object")
		}
		name, _ := key.(string)
		_, twice := fields[name]
		if !slices.Contains(imported(), name) || twice {
			return nil, fmt.Errorf("a member is not imported, or there twice: expected %s, each once", strings.Join(imported(), ", "))
		}
		value, err := d.Token()
		if fields[name], _ = value.(string); err != nil || fields[name] == "" {
			return nil, customer.FieldError{Field: name, Problem: "must be a text that is not empty"}
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("expected a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("expected one JSON object a line")
	}
	return fields, nil
}

// customerWriter writes customers as the API shows them.
type customerWriter struct {
	out *bufio.Writer
	csv *csv.Writer // nil: NDJSON
}

func newCustomerWriter(w io.Writer, format string) *customerWriter {
	c := &customerWriter{out: bufio.NewWriter(w)}
	if format == formatCSV {
		c.csv = csv.NewWriter(c.out)
		_ = c.csv.Write([]string{"customer_id", "created_at", "updated_at", "first_name", "last_name", "email_address", "auth_user_id", "customer_lifecycle"}) // told by flush
	}
	return c
}

func (w *customerWriter) write(c customer.Customer) error {
	created, updated := c.CreatedAt.Format(customer.TimeFormat), c.UpdatedAt.Format(customer.TimeFormat)
	if w.csv != nil {
		return w.csv.Write([]string{string(c.ID), created, updated, c.FirstName, c.LastName, c.Email.Address, c.AuthUserID, string(c.Lifecycle)})
	}
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		ID        customer.ID        `json:"customer_id"`
		Created   string             `json:"created_at"`
		Updated   string             `json:"updated_at"`
		First     string             `json:"first_name"`
		Last      string             `json:"last_name"`
		Address   *string            `json:"email_address"`
		User      *string            `json:"auth_user_id"`
		Lifecycle customer.Lifecycle `json:"customer_lifecycle"`
	}{c.ID, created, updated, c.FirstName, c.LastName, orNull(c.Email.Address), orNull(c.AuthUserID), c.Lifecycle})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (w *customerWriter) flush() error {
	if w.csv != nil {
		w.csv.Flush()
		if err := w.csv.Error(); err != nil {
			return err
		}
	}
	return w.out.Flush()
}
