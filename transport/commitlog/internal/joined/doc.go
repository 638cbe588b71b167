// Package joined lets small requests of many callers travel as one.
//
//	Line   who waits, who leads, what a trip carries
//	Item   one caller's request, and what became of it
//
// Nothing waits to fill a trip. Who comes while fewer than Limits.Beside are under way
// leaves at once; who comes later waits for an end, and all of them leave together then. When
// those who wait fill a trip, it leaves beside those under way, and so it does when the
// trip before takes long: one that hangs holds up nobody for long. So one caller is as
// fast as without a line, many small requests cost one, and large ones still follow
// each other closely.
//
// The caller that leads a trip makes it, in its own goroutine: there is no other. A
// trip therefore ends for everybody when its leader's context ends. It also ends when
// the context of anybody aboard does: then the memory of a request is its caller's
// again as soon as [Line.Do] returns, and Do returns soon.
//
// The package knows nothing of what is carried.
package joined
