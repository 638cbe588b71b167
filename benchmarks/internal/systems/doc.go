// Package systems has what comparisons run that needs no module but Penstock's: pipes and
// topics, plain mangos sockets, a TCP connection, and etcd alone. benchmarks/peers has the
// others.
package systems
