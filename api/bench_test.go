package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

func BenchmarkParseObject(b *testing.B) {
	body := []byte(`{"first_name":"Ada","last_name":"Lovelace","email_address":"ada@example.com"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseObject(body, []string{"first_name", "last_name", emailParameter}); err != nil {
			b.Fatal(err)
		}
	}
}

// A token of the usual length that was verified before.
func BenchmarkRememberedToken(b *testing.B) {
	t := &tokens{now: time.Now, verified: map[string]verified{}}
	token := strings.Repeat("x", 900)
	t.remember(principal{subject: "auth0|1", token: token, expires: time.Now().Add(time.Hour)})
	b.ReportAllocs()
	for b.Loop() {
		if p, err := t.principal(b.Context(), token); err != nil || p.subject != "auth0|1" {
			b.Fatal(p, err)
		}
	}
}

// nowhere is a client that reads all at once.
type nowhere struct{ http.ResponseWriter }

func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) WriteHeader(int)                  {}
func (nowhere) Flush()                           {}
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) SetReadDeadline(time.Time) error  { return nil }
func (n nowhere) Header() http.Header            { return n.ResponseWriter.Header() }

// A row of the listing of all customers.
func BenchmarkListRow(b *testing.B) {
	w := nowhere{httptest.NewRecorder()}
	l := &listing{call: &call{w: w}, control: http.NewResponseController(w)}
	row := customer.Listed{ID: "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11", Address: "ada@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.add(row, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCustomerBody(b *testing.B) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 908190000, time.UTC)
	c := customer.Customer{
		ID: "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11", CreatedAt: at, UpdatedAt: at, FirstName: "Ada", LastName: "Lovelace",
		AuthUserID: "auth0|63a03d3ab783b6ee24eda463", Email: customer.Email{Address: "ada@example.com"}, Lifecycle: customer.Active,
	}
	w := nowhere{httptest.NewRecorder()}
	b.ReportAllocs()
	for b.Loop() {
		writeCustomer(w, c)
	}
}
