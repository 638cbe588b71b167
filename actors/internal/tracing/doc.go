// Package tracing makes the spans of a runtime, and carries their context in the headers
// of messages as the W3C's Trace Context and Baggage write it. It uses the API of
// OpenTelemetry only; which spans are recorded, and where they go, is the provider's.
//
// Spans have the names and attributes of OpenTelemetry's semantic conventions for
// messaging. A nil *Tracer is tracing that is off: it adds no middleware, and whoever has
// one looks whether it is nil.
package tracing
