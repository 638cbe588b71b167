// Package keys spells every etcd key, once.
//
// A Space is the prefix under which one set of runtimes meets; everything that
// Penstock keeps in etcd lies below it, so a role on that prefix is the whole
// authorization. Methods of Space build keys, Parse takes them apart again:
//
//	<ns>/dest/<dest>/sole                          leased: the mark of a sole sender
//	<ns>/dest/<dest>/senders/<id>                  leased: one registered sender
//	<ns>/secret/<dest>/<id>                        leased: that sender's token, for any group
//	<ns>/secret/<dest>/<group>/<id>                leased: that sender's token for one group
//	<ns>/secret/<dest>/~generation                 which generation the tokens for any group are to have
//	<ns>/secret/<dest>/<group>/~generation         and those for one group
//	<ns>/allow/<dest>/<group>/<name>               an identity whose holders may join the group
//	<ns>/dest/<dest>/groups/<group>/meta           settings of a group
//	<ns>/dest/<dest>/groups/<group>/deserted       the mark that there is no member
//	<ns>/dest/<dest>/groups/<group>/paused         leased for the time of the pause: the group is paused
//	<ns>/dest/<dest>/groups/<group>/members/<id>   leased: one member
//
// Tokens lie under a branch of their own, so that the right to list who is
// there is not the right to consume. Those of a group have a prefix, so that the right to
// consume in one group is not the right to consume in another. So do the identities of those who may join: whoever
// lists itself as a member does not allow itself to be one.
//
//	<ns>/topics/<name>                             a topic's id and settings
//	<ns>/deleting/<id>                             a topic that is being made or swept
//	<ns>/log/<id>/start/<p>                        first valid offset of a partition
//	<ns>/log/<id>/hint/<p>                         a base near its end: advice
//	<ns>/log/<id>/index/<p>/<base>                 what is known of one batch
//	<ns>/log/<id>/body/<p>/<base>                  the batch
//	<ns>/log/<id>/queue/<p>/<producer>             leased: a place in the queue for the next append
//	<ns>/log/<id>/delayed/<p>/<due>/<offset>       a record that is delivered later
//	<ns>/delays/<id>/<p>                           the mark that a partition has such records
//	<ns>/transactions/<id>                         leased: the mark of a transaction that leaves no other trace
//	<ns>/groups/<id>/<group>/meta                  mode of a consumer group
//	<ns>/groups/<id>/<group>/paused                leased for the time of the pause: the group is paused
//	<ns>/groups/<id>/<group>/assignment            who is to own which partition
//	<ns>/groups/<id>/<group>/members/<m>           leased: one subscription
//	<ns>/groups/<id>/<group>/claims/<p>            leased: who owns a partition
//	<ns>/offsets/<id>/<group>/<p>                  where the group is in it
//
// One watch of a topic's index is the doorbell of all its partitions, and one of
// a group carries no commits. Partitions have four digits and bases twenty, so
// that keys sort as numbers do.
//
// The builders do not check what they are given: names come from ValidateName,
// which admits nothing that could climb out of its place in a key. Parse
// accepts only keys that the builders can make, so for every key it
// accepts, Key.In gives back the same text.
package keys
