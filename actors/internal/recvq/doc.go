// Package recvq is the receiving data path of a pipe's member.
//
// So far it keeps the deliveries of a link that are settled: [AckSet].
package recvq
