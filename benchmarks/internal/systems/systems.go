package systems

import (
	"context"
	"maps"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// All are the systems by name.
func All() map[string]side.System { return maps.Clone(all) }

var all = map[string]side.System{
	"penstock":         {Broker: addresses, Receive: receivePipe, Send: sendPipe},
	"penstock-reuse":   {Broker: addresses, Receive: reusePipe, Send: sendPipe},
	"penstock-request": {Broker: addresses, Receive: replyPipe, Send: requestPipe},
	"penstock-topic":   {Broker: Etcd, Put: putTopic, Consume: consumeTopic},
	"penstock-inturn":  {Broker: Etcd, Put: putTopicInTurn, Consume: consumeTopic},
	"penstock-tls":     overTLS.apart(),
	"penstock-ws":      overWS.apart(),
	"penstock-wss":     overWSS.apart(),
	"penstock-ipc":     overIPC.apart(),
	"penstock-inproc":  overMem.within(),
	"penstock-tcp-one": overTCP.within(),
	"mangos-inproc":    {Within: mangosWithin},
	"rawtls":           {Receive: receiveTLS, Send: sendTLS},
	"mangos":           {Receive: pullMangos, Send: pushMangos},
	"mangos-request":   {Receive: repMangos, Send: reqMangos},
	"rawtcp":           {Receive: receiveTCP, Send: sendTCP},
	"etcdput":          {Broker: Etcd, Put: putEtcd},
	"etcdlimit":        {Broker: Etcd, Put: putBlocks, Consume: consumeBlocks},
	"toy":              {Broker: Etcd, Put: putToy, Consume: consumeToy},
}

// etcd is an embedded server.
type etcd struct{ *embedded.Server }

// Etcd starts an etcd that syncs each commit.
func Etcd(ctx context.Context) (side.Broker, error) { return startEtcd(ctx) }

// addresses is an etcd that no message passes through: it need not sync.
func addresses(ctx context.Context) (side.Broker, error) {
	return startEtcd(ctx, embedded.UnsafeNoFsync())
}

func startEtcd(ctx context.Context, opts ...embedded.Option) (side.Broker, error) {
	s, err := embedded.Start(ctx, "", opts...)
	if err != nil {
		return nil, err
	}
	return etcd{s}, nil
}

func (e etcd) Address() string { return e.Endpoint() }

func (etcd) CPU() float64 { return 0 }
