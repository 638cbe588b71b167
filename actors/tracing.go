package actors

// Span contexts in the headers of messages, for users' own spans.

import (
	"context"

	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/messages"
)

// Received is penstock.Received.
type Received = tracing.Received

// ContextOf is penstock.ContextOf.
func ContextOf(ctx context.Context, m Received) context.Context { return tracing.ContextOf(ctx, m) }

// Inject is penstock.Inject.
func Inject(ctx context.Context, m *messages.Message) { tracing.Inject(ctx, m) }
