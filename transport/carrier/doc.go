// Package carrier opens and accepts the byte streams that links run over: tcp, TLS over
// tcp, WebSocket, unix sockets, and the memory of the process. What runs over a stream is package socket's, and the same for each.
//
// [Of] returns the carrier of a scheme of URLs. Its streams are net.Conns whose Close
// ends them at once, without a last word to the peer. A stream with TLS has more to
// say; see [Session].
//
// # TLS
//
// [TLS] is what a process shows of itself and whom it trusts: [Certificates] in files,
// which are read again when they change, or from functions. Each handshake uses what
// they hold then. Nothing but TLS 1.3 is spoken, without resumption, and a protocol
// name (ALPN) keeps a certificate that is used for something else as well from being
// used here by mistake.
//
// A listener proves that it is who etcd says it is: the dialler gives the identities
// under which the sender is listed, and one of them must be in the certificate. The
// host that was dialled proves nothing. The certificates of diallers are checked when
// they are shown, and demanded when the configuration says so.
//
// Before a handshake has ended, a peer may have 64 KiB read and no more. The handshake
// runs on the goroutine of whoever first reads or writes, never in Accept.
package carrier
