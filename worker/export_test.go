package worker

import "context"

// Remember is what Run begins with.
func (w *Worker) Remember(ctx context.Context) { w.remember(ctx) }
