// Package conformance is the suite that every transport of package socket must
// pass: the handshake and its refusals, hostile bytes, frames of all sizes,
// beats, and the ways a connection can end.
package conformance
