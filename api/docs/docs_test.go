package docs_test

import (
	"html"
	"os"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/api/docs"
)

func pageOf(t *testing.T, text string) string {
	t.Helper()
	page, err := docs.Page([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return html.UnescapeString(string(page))
}

func TestEachCallIsShownWithItsCurlLine(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page := pageOf(t, string(text))
	for _, says := range []string{
		`curl -s "$API/customer/v1/customers" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $TOKEN"`,
		`curl -s -X POST "$API/customer/v1/customers" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '{"email_address":"ada@example.com","first_name":"Ada","last_name":"Lovelace"}'`,
		`curl -s -X PATCH "$API/customer/v1/customers?email_address=ada@example.com"`,
		`curl -s "$API/customer/v1/customers/$CUSTOMER_ID"`,
		`curl -s "$API/openapi.yaml"` + "</code>",
		"active, inactive", "1 to 1000", "20s if left out",
	} {
		if !strings.Contains(page, says) {
			t.Errorf("without %s", says)
		}
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "  /"); ok && !strings.Contains(page, "<code>/"+strings.TrimSuffix(path, ":")+"</code>") {
			t.Errorf("/%s is not on the page", path)
		}
	}
	for _, never := range []string{"<script", "http://", "https://"} {
		if strings.Contains(page, never) {
			t.Errorf("it has %q", never)
		}
	}
}

func TestWhatTheDocumentDoesNotSayIsAnError(t *testing.T) {
	t.Parallel()
	const call = "paths:\n  /x:\n    get:\n      summary: x\n"
	for name, text := range map[string]string{
		"no YAML":              "\t",
		"a reference to none":  call + "      parameters: [{$ref: '#/components/parameters/None'}]\n",
		"an answer to none":    call + "      responses: {default: {$ref: '#/components/responses/None'}}\n",
		"a body without a way": call + "      requestBody: {content: {application/json: {}}}\n",
	} {
		if page, err := docs.Page([]byte(text)); err == nil {
			t.Errorf("%s: %s", name, page)
		}
	}
	if page, err := docs.Page([]byte("info: {title: '<script>'}\n" + call)); err != nil || strings.Contains(string(page), "<script") {
		t.Errorf("%v: %s", err, page)
	}
}
