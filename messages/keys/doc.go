// Package keys spells every etcd key of the pipes, once.
//
// A Space is the prefix under which one set of runtimes meets; everything that
// Penstock keeps in etcd lies below it, so a role on that prefix is the whole
// authorization. Methods of Space build keys, Parse takes them apart again:
//
//	<ns>/dest/<dest>/meta                          settings of a destination
//	<ns>/dest/<dest>/senders/<id>                  leased: one registered sender
//	<ns>/secret/<dest>/<id>                        leased: that sender's token
//	<ns>/dest/<dest>/groups/<group>/meta           settings of a group
//	<ns>/dest/<dest>/groups/<group>/members/<id>   leased: one member
//
// Tokens lie under a branch of their own, so that the right to list who is
// there is not the right to consume.
//
// The builders do not check what they are given: names come from ValidateName,
// which admits nothing that could climb out of its place in a key. Parse
// answers only for keys that the builders can make, so for every key it
// accepts, Key.In gives back the same text.
package keys
