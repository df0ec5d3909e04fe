package ops

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed page
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp": stamp, "machine": machine, "ago": ago, "thousands": thousands, "counted": counted, "several": several, "atLeast": atLeast,
}).ParseFS(files, "page/*.html"))

// stamp is a time for people.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// machine is a time for the datetime attribute.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// render writes a page. It is made whole first: a template that fails must not leave
// half a page that says 200.
func render(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client is gone
}

func style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "page/style.css")
}
