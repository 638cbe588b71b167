package doctor

// What the doctor asks etcd and the senders.

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// probeTTL bounds the life of the probe key when we die before deleting it.
const probeTTL = 10

// dialTimeout bounds one connection to a sender.
const dialTimeout = 3 * time.Second

// endpoint asks one member of etcd how it is, and reports whether it replied.
func (d *diagnosis) endpoint(ctx context.Context, client *clientv3.Client, cfg clientv3.Config, endpoint string, timeout time.Duration) bool {
	name := "etcd " + endpoint
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	status, err := client.Status(asking, endpoint)
	if err != nil {
		d.add(judgeUnreached(name, []string{endpoint}, discovery.Classify("ask for its status", err)))
		return false
	}
	d.add(judgeAnswer(name, time.Since(began)))
	d.add(judgeVersion(name, status.Version))
	d.add(judgeLeader(name, status.Leader, status.IsLearner))
	d.add(judgeSpace(name, status.DbSize, status.DbSizeInUse, status.DbSizeQuota))
	d.add(judgeAlarms(name, status.Errors))
	skew, err := clockSkew(ctx, cfg, endpoint)
	d.add(judgeClock(name, skew, err))
	return true
}

// clockSkew compares our clock with the one that etcd's HTTP side stamps its replies
// with, to the second. Positive means that etcd's is ahead.
func clockSkew(ctx context.Context, cfg clientv3.Config, endpoint string) (time.Duration, error) {
	address := endpoint
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return 0, fmt.Errorf("endpoint %s is not asked over HTTP", endpoint)
	}
	if cfg.TLS != nil {
		u.Scheme = "https"
	}
	u.Path = "/version"
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	transport := &http.Transport{TLSClientConfig: cfg.TLS.Clone(), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	middle := began.Add(time.Since(began) / 2)
	stamp, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, err
	}
	// The stamp is cut to the second: half of one more is the best guess.
	return stamp.Add(500 * time.Millisecond).Sub(middle), nil
}

// rights does what a runtime does under the prefix, on a key of its own.
func (d *diagnosis) rights(ctx context.Context, client *clientv3.Client, space keys.Space, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	step, err := probe(ctx, client, string(space)+"/doctor/"+rand.Text())
	d.add(judgeRights(string(space), step, err, time.Since(began)))
	_, err = client.Get(ctx, space.AllSecrets(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	d.add(judgeSecrets(space.AllSecrets(), discovery.Classify("read", err)))
}

// probe uses each right once, on one key. It returns the step that failed.
func probe(ctx context.Context, client *clientv3.Client, key string) (step string, err error) {
	lease, err := client.Grant(ctx, probeTTL)
	if err != nil {
		return "grant a lease", discovery.Classify("grant a lease", err)
	}
	defer func() {
		_, rerr := client.Revoke(ctx, lease.ID)
		if err == nil && rerr != nil {
			step, err = "revoke the lease", discovery.Classify("revoke the lease", rerr)
		}
	}()
	if _, err := client.Put(ctx, key, "probe", clientv3.WithLease(lease.ID)); err != nil {
		return "put", discovery.Classify("put "+key, err)
	}
	got, err := client.Get(ctx, key)
	if err != nil {
		return "get", discovery.Classify("get "+key, err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "probe" {
		return "get", fmt.Errorf("%s does not hold what was put there", key)
	}
	if err := transact(ctx, client, key); err != nil {
		return "transaction", discovery.Classify("transaction on "+key, err)
	}
	if _, err := client.Delete(ctx, key); err != nil {
		return "delete", discovery.Classify("delete "+key, err)
	}
	return "", nil
}

// transact uses what runtimes need of transactions, and what an old etcd, or
// something else that speaks its protocol, may lack: a guard over a prefix, and a
// transaction within another.
func transact(ctx context.Context, client *clientv3.Client, key string) error {
	resp, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key+"/"), "=", 0).WithPrefix()).
		Then(clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), ">", 0)},
			[]clientv3.Op{clientv3.OpGet(key)}, nil)).
		Commit()
	if err != nil {
		return err
	}
	if !resp.Succeeded || len(resp.Responses) != 1 || !resp.Responses[0].GetResponseTxn().GetSucceeded() {
		return errors.New("this etcd does not know guards over a prefix, or transactions within others")
	}
	return nil
}

// senders connects to each registered sender, as a member would.
func (d *diagnosis) senders(ctx context.Context, client *clientv3.Client, space keys.Space, timeout time.Duration, ours penstock.LinkCertificates) {
	listing, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kvs, _, err := discovery.List(listing, client, space.Dests())
	if err != nil {
		d.add(judgeListing(space.Dests(), err))
		return
	}
	inv := inventory.Of(space, kvs)
	d.add(judgeRegistry(inv, time.Now()))
	d.add(judgeLevels(inv, pb.LevelsNow()))
	roots, err := rootsOf(ours.CA)
	if err != nil {
		d.add(check{Name: "certificates", Status: verdictFail, Found: err.Error(), Do: "correct --link-cacert"})
	}
	for _, dest := range inv.Destinations {
		for _, s := range dest.Senders {
			for _, u := range s.URLs {
				name, url := "sender "+dest.Name+"/"+s.ID, cli.Clean(u)
				chain, err := knock(ctx, u, s.Identities, ours)
				d.add(judgeSocket(name, url, err))
				if len(chain) > 0 {
					d.add(judgeCertificate(name, url, chain, s.Identities, roots, time.Now()))
				}
			}
			for _, u := range s.PlainURLs {
				d.add(judgePlain("sender "+dest.Name+"/"+s.ID, cli.Clean(u), listen(ctx, u)))
			}
		}
		for _, c := range judgeMeeting(dest) {
			d.add(c)
		}
	}
}

// topics reads the settings of all topics, and what deletions left behind.
func (d *diagnosis) topics(ctx context.Context, client *clientv3.Client, space keys.Space, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kvs, _, err := discovery.List(ctx, client, space.Topics())
	var marks []discovery.KV
	if err == nil {
		marks, _, err = discovery.List(ctx, client, space.AllDeleting())
	}
	inv := inventory.Inventory{}
	inv.TakeTopics(space, kvs)
	d.add(judgeTopics(string(space), &inv, inventory.Unfinished(marks, time.Now()), err))
}

// The SP headers of the two sides of a pipe.
var (
	pullHeader = [8]byte{0, 'S', 'P', 0, 0, 0x51}
	pushHeader = [8]byte{0, 'S', 'P', 0, 0, 0x50}
)

var (
	errOneProcess = errors.New("only its own process can dial it")
	errNotSender  = errors.New("what answers there is no sender")
)

// knock exchanges SP headers with a sender, over whatever its URL names, and hangs up. It
// returns the certificates that the sender has shown, if it has. A proxy's certificate is
// checked as a member checks it, and is not returned.
func knock(ctx context.Context, text string, listed []string, ours penstock.LinkCertificates) (chain []*x509.Certificate, err error) {
	if strings.HasPrefix(text, "inproc:") {
		return nil, errOneProcess
	}
	u, at, err := address.Dial(text)
	if err != nil {
		return nil, err
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		return nil, err
	}
	to := carrier.Target{Identities: listed}
	switch {
	case u.EndToEnd(): // its certificates are what is looked at, and judged by judgeCertificate
		to.TLS, err = carrier.NewTLS(carrier.Certificates{
			Cert: ours.Cert, Key: ours.Key,
			VerifyPeer: func(shown []*x509.Certificate) error { chain = shown; return nil },
		})
	case u.Proxied && ours.CA != "":
		to.TLS, err = carrier.NewTLS(ours)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := by.Dial(ctx, u, at, to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a stream that cannot will fail below
	}
	if o, ok := conn.(carrier.Opener); ok {
		if err := o.Handshake(ctx); err != nil {
			return chain, judgeOpening(err, chain != nil)
		}
	}
	if _, err := conn.Write(pullHeader[:]); err != nil {
		return chain, err
	}
	var got [8]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil {
		return chain, judgeOpening(err, chain != nil)
	}
	if got != pushHeader {
		return chain, fmt.Errorf("%w: it says % x", errNotSender, got)
	}
	return chain, nil
}

// judgeOpening sorts the failure of what comes before the SP header, or of the header.
func judgeOpening(err error, shown bool) error {
	var refused *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case shown && errors.As(err, &refused) && refused.Op == "remote error":
		return fmt.Errorf("%w: %w", errWantsCertificate, err)
	case shown && errors.Is(err, carrier.ErrIdentity):
		return nil // judgeCertificate says it
	case errors.As(err, &certificate):
		return err
	}
	return fmt.Errorf("%w: %w", errNotSender, err)
}
