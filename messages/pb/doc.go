// Package pb is what leaves the process: the frames of a link (wire.proto),
// the values kept in etcd (registry.proto for pipes, topic.proto for topics),
// and the record that both carry (record.proto).
//
// The .proto files are the contract with other versions of Penstock. Field
// numbers are never given a second meaning, enum values are never renumbered,
// and the zero value of a field means what its absence meant before the field
// existed. Decoders skip what they do not know.
//
// The Go code is generated; run `go generate` after changing a .proto file. The
// generator, its compiler included, is a module of its own in gen, so neither
// protoc nor its plugins need to be installed. With -check it reports generated
// files that are not current.
package pb

//go:generate go -C gen run .
