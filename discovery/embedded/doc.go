// Package embedded runs a real etcd server inside the process.
//
// Start returns when the server answers, and hands back an ordinary
// clientv3.Config through Server.Config. Nothing else about the program
// changes when that configuration is later replaced by the endpoints of a
// cluster of three.
//
//	srv, err := embedded.Start(ctx, "/var/lib/myservice/etcd")
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//	rt, err := penstock.Start(ctx, penstock.EtcdConfig(srv.Config()))
//
// # What it promises
//
// With a directory, what was committed is there after a restart, crash
// included; one process at a time may use it, a second one gets ErrLocked at
// once. Without one, the data lives in a temporary directory and goes with
// Close. The server is a cluster of one: when its process is down, so is etcd.
//
// # When it fails
//
// Where etcd would end its program, as on a full disk, the host program continues:
// Server.Err yields what etcd said, with its causes and what to do. The server
// then serves nobody, and nothing that it answered is lost. Its Close may have
// to leave goroutines and open files behind; then a new server on the same
// directory needs a new process. Panics of etcd that it does not log end the
// program as any panic does.
//
// # Who can reach it
//
// The server listens on the loopback interface without TLS and without a
// password: every local user can read and write it. Given another address by
// Listen, every host that reaches that address can. Where that is too many,
// run an etcd of its own with TLS and users. No port for etcd peers is opened.
//
// # What it costs
//
// A disk that fsyncs for each commit, and memory for what is in flight.
//
// Now and then the server defragments itself: the quota is about its file, which shrinks by
// nothing else. That stops all that it does, some seconds for each gigabyte in use, so it is
// done where half of the file and 64 MiB are free (a quarter, where the file has four fifths
// of the quota), 512 MiB at most are in use, there were fewer than 20 changes a second for
// half a minute, and no other member is in the cluster; once in ten minutes at most.
// OnDefragment tells of it. If etcd's alarm had been raised because of the quota, it is ended
// then, or whenever the file has a tenth of the quota free. A larger database is to be defragmented by hand, when that suits.
//
// Settings are those of a log: a quota of 8 GiB, snapshots every 1,000 entries
// so that large batches do not pile up in memory, small batches of commits and
// of compactions so that neither stalls readers for long.
package embedded
