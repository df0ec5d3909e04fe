package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func fileWith(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestCustomersAreImportedWhollyAndOnce(t *testing.T) {
	t.Parallel()
	env := []string{"DATABASE_URL=" + storetest.DSN(t)}
	const count = 1234 // some batches
	var rows strings.Builder
	rows.WriteString("\ufeffemail_address,first_name,last_name\r\n")
	for i := range count {
		fmt.Fprintf(&rows, "user%d@example.com,\"Ada, the %dth\",Lovelace\r\n", i, i)
	}
	rows.WriteString("\n USER7@example.com ,Ada,Again\n")
	file := fileWith(t, "people.csv", rows.String())
	imported := func(args ...string) outcome {
		return runProgram(t, env, append([]string{"customers", "import", file}, args...)...)
	}
	if got := imported("--dry-run"); got.code != exitOK || got.stdout != "1235 rows: 0 created, 0 already there, 0 erased before, 0 bad\n" {
		t.Errorf("tried: %+v", got)
	}
	if got := imported(); got.code != exitOK || got.stdout != "1235 rows: 1234 created, 1 already there, 0 erased before, 0 bad\n" {
		t.Errorf("imported: %+v", got)
	}
	if got := imported("--json"); got.code != exitOK || got.stdout != `{"rows":1235,"created":0,"already_there":1235,"erased":0,"bad":0}`+"\n" {
		t.Errorf("again: %+v", got)
	}
	for format, first := range map[string]string{"csv": "customer_id,created_at", "ndjson": `{"customer_id":"`} {
		out := filepath.Join(t.TempDir(), "out."+format)
		if got := runProgram(t, env, "customers", "export", "--out", out); got.code != exitOK {
			t.Fatalf("export: %+v", got)
		}
		text, err := os.ReadFile(out)
		must(t, err)
		streamed := runProgram(t, env, "customers", "export", "--format", format)
		if !strings.HasPrefix(string(text), first) || strings.Count(string(text), "@example.com") != count || streamed.stdout != string(text) {
			t.Errorf("%s: %d bytes in the file, %d streamed: %.300s", format, len(text), len(streamed.stdout), text)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*.part")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestExportedTimesHaveSixDigitsAsInTheAPI(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 900_000_000, time.UTC)
	for _, format := range []string{formatCSV, formatNDJSON} {
		var out strings.Builder
		w := newCustomerWriter(&out, format)
		must(t, w.write(customer.Customer{CreatedAt: at, UpdatedAt: at.Truncate(time.Second)}))
		must(t, w.flush())
		if !strings.Contains(out.String(), "12:00:00.900000Z") || !strings.Contains(out.String(), "12:00:00.000000Z") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}

func TestBadRowsAreNamedAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	env := []string{"DATABASE_URL=" + storetest.DSN(t)}
	for name, test := range map[string]struct {
		text string
		says []string
	}{
		"a.csv": {"first_name,last_name,email_address\nAda,Lovelace,ada@example.com\n,Hopper,grace\nKatherine,Johnson\nAlan,\"Tu\"ring,alan@example.com\n", []string{
			"line 3: first_name must not be empty, email_address ", "line 4: has 2 columns: expected 3", "line 5: column ", "3 of 4 rows cannot be imported; none was",
		}},
		"a.ndjson": {`{"first_name":"Ada","last_name":"Lovelace","email_address":"ada@example.com"}` + "\n" + `{"first_name":"Ada","First_Name":"Eve"}` + "\n" +
			`{"first_name":"Ada","first_name":"Eve"}` + "\n" + `{"first_name":7}` + "\n" + `[]` + "\n" + `{"first_name":"Ada"} {}` + "\n" + `{"first_name":"` + "\xff" + `"}` + "\n", []string{
			"line 2: a member is not imported", "line 3: a member is not imported, or there twice", "line 4: first_name must be a text", "line 5: expected a JSON object",
			"line 6: expected one JSON object", "line 7: must be UTF-8", "6 of 7 rows",
		}},
	} {
		file := fileWith(t, name, test.text)
		got := runProgram(t, env, "customers", "import", file)
		for _, says := range test.says {
			if got.code != exitFailed || !strings.Contains(got.stderr, says) {
				t.Errorf("%s: exit code %d, without %q: %s", name, got.code, says, got.stderr)
			}
		}
		if out := runProgram(t, env, "customers", "export").stdout; out != "" {
			t.Errorf("%s: written all the same: %s", name, out)
		}
	}
	file := fileWith(t, "b.csv", "first_name,last_name,email_address\nAda,Lovelace,ada@example.com\n,Hopper,grace\n")
	if got := runProgram(t, env, "customers", "import", file, "--skip-bad"); got.code != exitPartial || !strings.HasPrefix(got.stdout, "2 rows: 1 created, 0 already there, 0 erased before, 1 bad") {
		t.Errorf("without the bad ones: %+v", got)
	}
	for text, says := range map[string]string{
		"": "the file is empty", "first_name,last_name\n": "expected the columns", "first_name,last_name,email_address,iq\n": "column 4 is not imported",
		"first_name,last_name,email_address\n" + strings.Repeat("x", 70<<10): "line 2: ",
	} {
		if got := runProgram(t, env, "customers", "import", fileWith(t, "c.csv", text)); got.code != exitFailed || !strings.Contains(got.stderr, says) {
			t.Errorf("%.60q: %+v", text, got)
		}
	}
	if got := runProgram(t, env, "customers", "import", fileWith(t, "people", "")); got.code != exitUsage {
		t.Errorf("without a format: %+v", got)
	}
}

// Whatever a file holds, a row is a customer that the API would take, or bad.
func FuzzReadRows(f *testing.F) {
	f.Add("first_name,last_name,email_address\nAda,Lovelace,ada@example.com\n", true)
	f.Add(`{"first_name":"Ada","last_name":"Lovelace","email_address":"ada@example.com"}`, false)
	f.Add("first_name,last_name,email_address\n\"a\"\"b\",\"\n\",\x00\n", true)
	f.Add("{\"first_name\":\"\\ud800\",\"last_name\":{}}\n[", false)
	f.Fuzz(func(t *testing.T, text string, isCSV bool) {
		format := formatNDJSON
		if isCSV {
			format = formatCSV
		}
		last := 0
		_ = readRows(bufio.NewReader(strings.NewReader(text)), format, func(line int, fields map[string]string, err error) error { // it may be no such file
			if line <= last || line > strings.Count(text, "\n")+1 {
				t.Errorf("line %d after %d", line, last)
			}
			last = line
			if err != nil {
				return nil //nolint:nilerr // a bad row
			}
			for name := range fields {
				if name != "first_name" && name != "last_name" && name != "email_address" {
					t.Errorf("a field %q", name)
				}
			}
			return nil
		})
	})
}
