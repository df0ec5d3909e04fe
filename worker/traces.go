package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ahiko-io/customersync/customer"
)

// traced makes a span of a run, until done is called with how it ended. Its attributes
// are numbers and words of ours.
func (w *Worker) traced(ctx context.Context, kind string) (_ context.Context, done func(customer.Run)) {
	if w.tracer == nil {
		return ctx, func(customer.Run) {}
	}
	ctx, span := w.tracer.Start(ctx, "run "+kind, trace.WithNewRoot())
	return ctx, func(r customer.Run) {
		span.SetAttributes(
			attribute.String("result", string(r.Result)), attribute.String("lane", r.Lane),
			attribute.Int("looked", r.Looked), attribute.Int("linked", r.Linked), attribute.Int("unlinked", r.Unlinked),
			attribute.Int("conflicts", r.Conflicts), attribute.Int("errors", r.Errors),
			attribute.Int("auth0_calls", r.Auth0Calls), attribute.Float64("budget_wait_seconds", r.BudgetWait.Seconds()))
		if r.Result != customer.RunOK {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
