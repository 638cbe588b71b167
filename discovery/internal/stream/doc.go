// Package stream has one stream of watches that ends when it breaks.
//
// etcd's client resumes a broken watch by itself, silently and without end, from
// the revision it last saw. When that is long ago, the server reads everything
// written since, by anybody; and in an etcd that was wiped the revision lies in
// the future, so the watch would hear nothing. A Stream is therefore opened once,
// and its owner lists again. It also asks for a sign of life every few seconds and
// gives up when none comes.
//
// A Shared is the same for very many watches: it speaks etcd's protocol by itself.
//
// The context of a Stream admits one connection's stream: the client of package
// discovery asks Admitted and refuses to open a second.
package stream
