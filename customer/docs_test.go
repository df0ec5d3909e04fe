package customer_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/customer"
)

// The page for people says what the code does.
func TestThePageOfHowItDecidesIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deploy/docs/how-it-decides.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, arrow := range regexp.MustCompile(`(?m)^    (\w+) --> (\w+):`).FindAllStringSubmatch(string(text), -1) {
		drawn[arrow[1]+" "+arrow[2]] = true
	}
	for _, from := range customer.Lifecycles() {
		for _, to := range customer.Lifecycles() {
			if can, is := from.CanBecome(to), drawn[string(from)+" "+string(to)]; can != is {
				t.Errorf("%s → %s: legal %t, drawn %t", from, to, can, is)
			}
		}
	}
	_, table, _ := strings.Cut(string(text), "<!-- reasons -->\n")
	table, _, _ = strings.Cut(table, "<!-- /reasons -->")
	want := "| reason | what it says | who acts | what then |\n|---|---|---|---|\n"
	for _, r := range customer.Reasons() {
		m := r.Meaning()
		want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", r, m.Sentence, m.Who, m.Next)
	}
	if table != want {
		t.Errorf("the table of reasons should be\n%s", want)
	}
}
