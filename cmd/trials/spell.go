package main

import (
	"fmt"
	"net/http"
	"time"
)

// spell is one illness as the clients saw it: the database fell ill, its healing
// began, it was well.
type spell struct {
	fell, rose, well time.Time
	reads            bool // what only reads is answered meanwhile
	partly           bool // so is some of the rest
	refused, after   int  // requests refused while ill, and answered when well
	slowest          time.Duration
	late             time.Duration // the last refusal after healing
	wrong            []string
}

// see holds a request against what may be.
func (s *spell) see(a attempt) {
	took := a.ended.Sub(a.began)
	if a.ended.After(s.fell) {
		s.slowest = max(s.slowest, took)
	}
	ill := !a.began.Before(s.fell) && a.ended.Before(s.rose)
	switch {
	case took > answerWithin:
		s.complain(a, "took too long")
	case a.status == http.StatusServiceUnavailable:
		s.refusal(a, ill)
	case a.status == 0, a.status >= http.StatusInternalServerError:
		s.complain(a, "was not answered in words")
	case ill && !s.partly && (!s.reads || a.method != http.MethodGet):
		s.complain(a, "should have been refused")
	case a.began.After(s.well):
		s.after++
	}
}

func (s *spell) refusal(a attempt, ill bool) {
	switch {
	case ill && s.reads && a.method == http.MethodGet:
		s.complain(a, "only reads, and should have been answered")
	case ill:
		s.refused++
	case a.began.After(s.well):
		s.late = max(s.late, a.ended.Sub(s.well))
	}
}

func (s *spell) complain(a attempt, of string) {
	s.wrong = append(s.wrong, fmt.Sprintf("%s %s: status %d after %s, begun %s after the fault",
		a.method, of, a.status, a.ended.Sub(a.began).Round(time.Millisecond), a.began.Sub(s.fell).Round(time.Millisecond)))
}
