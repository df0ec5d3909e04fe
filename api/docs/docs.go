// Package docs shows an OpenAPI document to people: one page, made from nothing but
// the document, that needs no network and no script.
package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
)

var (
	//go:embed page.html
	pageText string
	//go:embed style.css
	styleText string

	page = template.Must(template.New("page").Parse(pageText))
)

// Policy is the Content-Security-Policy of the page: its one style, and nothing else.
func Policy() string {
	hash := sha256.Sum256([]byte(styleText))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// Page is the document as HTML: each call with a curl line that works once $API, $APP_ID
// and $TOKEN are set. The error says what in the document is not understood.
func Page(openapi []byte) ([]byte, error) {
	d, err := parse(openapi)
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	var b bytes.Buffer
	data := struct {
		document
		Style template.CSS
	}{d, template.CSS(styleText)} //nolint:gosec // ours
	if err := page.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return b.Bytes(), nil
}
