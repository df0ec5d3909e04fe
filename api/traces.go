package api

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// traced is a request's span; nil is none.
type traced struct {
	span   trace.Span
	answer *statusWriter
}

// traced makes a span of a request, in the caller's trace if it names one. It is named
// by the route, and has nothing of what the request says.
func (s *Server) traced(r *http.Request, route route) (*http.Request, *traced) {
	if s.tracer == nil {
		return r, nil
	}
	method := knownMethod(r.Method)
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := s.tracer.Start(ctx, method+" "+route.path, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route.path)))
	return r.WithContext(ctx), &traced{span: span}
}

// answers notes where the status will be.
func (t *traced) answers(w http.ResponseWriter) {
	if t != nil {
		t.answer, _ = w.(*statusWriter)
	}
}

func (t *traced) end() {
	if t == nil {
		return
	}
	if t.answer != nil {
		t.span.SetAttributes(attribute.Int("http.response.status_code", t.answer.status))
		if t.answer.status >= http.StatusInternalServerError {
			t.span.SetStatus(otelcodes.Error, "")
		}
	}
	t.span.End()
}

// traceID leads from a log line to the trace.
func traceID(ctx context.Context) zap.Field {
	if of := trace.SpanContextFromContext(ctx); of.IsValid() {
		return zap.String("trace_id", of.TraceID().String())
	}
	return zap.Skip()
}
