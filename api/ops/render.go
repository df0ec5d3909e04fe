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

// The pages, as they are for all on this machine, and for those who signed in.
var (
	pages       = parsed(false)
	signedPages = parsed(true)
)

func parsed(login bool) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"stamp": stamp, "machine": machine, "login": func() bool { return login },
		"ago": ago, "thousands": thousands, "counted": counted, "several": several, "atLeast": atLeast,
	}).ParseFS(files, "page/*.html"))
}

// forSigned is the answer to somebody who signed in, or has to.
type forSigned struct{ http.ResponseWriter }

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
	set := pages
	if _, ok := w.(forSigned); ok {
		set = signedPages
	}
	var b bytes.Buffer
	if err := set.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client is gone
}

func style(w http.ResponseWriter, r *http.Request) error {
	http.ServeFileFS(w, r, files, "page/style.css")
	return nil
}
