package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// tracesWithin is how long the last spans may take to be sent when the daemon stops.
const tracesWithin = 3 * time.Second

// tracing is who takes spans, and what sends the last of them. Without an endpoint it is
// nobody: then none are made. Sampling and headers are the SDK's own settings (OTEL_…).
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func tracing(ctx context.Context, endpoint string, log *zap.Logger) (trace.TracerProvider, func(), error) {
	if endpoint == "" {
		return nil, func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(endpoint, "/")+"/v1/traces"))
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	own, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", "customersync")), resource.Environment())
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	// What cannot be sent is said in our log, not on a line of the SDK's own.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", zap.Error(err)) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(own))
	return provider, func() { //nolint:contextcheck // by then ctx has ended
		ctx, cancel := context.WithTimeout(context.Background(), tracesWithin)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("traces", zap.Error(err))
		}
	}, nil
}
