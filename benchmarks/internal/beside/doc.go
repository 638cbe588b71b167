// Package beside compares pipes with the plain mangos sockets they are built on, and
// topics with NATS JetStream and with plain puts into the same etcd, over loopback.
//
// Each comparison alternates runs of both sides. JetStream is built from the nested
// module benchmarks/peers and runs in a process of its own; where that cannot be
// built, offline for instance, its comparisons have no peer, and say why.
package beside
