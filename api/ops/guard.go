package ops

import (
	"net"
	"net/http"
)

// policy lets the page load its one style sheet and send forms to itself, nothing else.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard refuses who must not see the page, and tells browsers to keep it to themselves.
func guard(loopback bool, l *login, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with it browsers send "Origin: null" with the page's own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if l != nil {
			w = forSigned{w}
		}
		switch {
		case l != nil && !l.names(r):
			render(w, http.StatusForbidden, "message", message{"Wrong name", "Open the operator page as " + l.site + "/ops/, not by another name."})
		case l != nil:
			next.ServeHTTP(w, r)
		case !loopback:
			render(w, http.StatusForbidden, "message", message{"Only on this machine", "The operator page has no login, so it is not shown on an address that others reach. Set CUSTOMERSYNC_OPS_URL, so that people sign in; or set CUSTOMERSYNC_OPS_LISTEN to a loopback address such as 127.0.0.1:9090, and come through a tunnel: ssh -L 9090:127.0.0.1:9090 HOST."})
		case !loopbackName(r.Host):
			// A stranger's name that resolves to 127.0.0.1 makes a browser take us for that
			// stranger's site (DNS rebinding); the name it asked for gives that away.
			render(w, http.StatusForbidden, "message", message{"Wrong name", "Open the operator page as http://localhost or http://127.0.0.1, not by another name."})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func loopbackName(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport // without a port
	}
	return Loopback(host)
}

// Loopback reports whether a host, as an address or as localhost, is this machine alone.
// The empty host, which listens everywhere, is not.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
