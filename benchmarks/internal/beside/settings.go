package beside

// PeerSettings are those of each system, by its name in results, in words.
var PeerSettings = map[string]string{
	"penstock":         "defaults: at least once, acknowledged, flow-controlled, over tcp; the etcd beside it carries addresses only and does not sync",
	"penstock-reuse":   "as penstock; the member joins with ReuseBuffers",
	"penstock-request": "as penstock; Request and ReplyHandler",
	"penstock-topic":   "defaults, 4 partitions; an etcd of one that syncs each commit; PutAsync, and a consumer that commits as it goes and in the end",
	"penstock-inturn":  "as penstock-topic, 64 partitions and RoundRobin",
	"actor":            "as penstock; the receiver is an actor of the user's behind MemberProps, one *Delivery at a time",
	"actor-batched":    "as actor, *Deliveries of up to 256",
	"supervised":       "an actor of supervisor.Props that is told from one goroutine, 20,000 at a time",
	"protoactor":       "a bare actor of proto.actor with its unbounded mailbox, told in the same way",
	"mangos":           "plain PUSH and PULL over tcp with their defaults (queues of 128): no acknowledgements, no groups",
	"mangos-request":   "plain REQ and REP over tcp with their defaults",
	"rawtcp":           "a length and the bytes over one connection, through buffers of 256 KiB: no acknowledgements; the limit",
	"nats":             "NATS core: a server with max_pending of 1 GiB, a publisher, a queue group and a connection for each group; members tell the publisher eight times in 64 MiB how far they are, so that none is dropped; at most once",
	"grpc":             "one client stream of messages with a field of bytes; buffers of 128 KiB, windows of 4 and 8 MiB: no acknowledgements",
	"zmq":              "libzmq PUSH and PULL over tcp by cgo, high-water marks of 65,536 messages or 64 MiB: no acknowledgements",
	"jetstream":        "a file store with its defaults, which sync every two minutes; asynchronous publishing, 4,096 on their way; a durable pull consumer, 4,096 or 16 MiB fetched ahead, explicit acknowledgements",
	"jetstream-always": "as jetstream, with sync_interval: always, and 512 on their way",
	"redis-everysec":   "Redis Streams, appendonly with appendfsync everysec; XADD in a pipeline of up to 4,096; XREADGROUP of up to 1,000, acknowledged together",
	"redis-always":     "as redis-everysec, with appendfsync always",
	"etcdput":          "one put of the same bytes after the other into an etcd of one, which syncs each",
	"etcdlimit":        "the same bytes in values of 512 KiB, 8 puts at once, into an etcd of one: no partitions, no fences, no groups; the limit",
	"toy":              "a key for each of 128 partitions, which each record overwrites, an operation for each record, 32 in a transaction, 4 transactions at once; a watch reads them",
}
