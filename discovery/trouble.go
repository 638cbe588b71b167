package discovery

// Why there is no connection. gRPC tries without end, and tells a caller that ran
// out of time nothing but that; what went wrong last is asked for here.

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

// Fault is what is wrong with a connection, as far as its error says.
type Fault string

// Faults. An error that fits none of them is FaultOther.
const (
	FaultRefused     Fault = "refused"            // nothing listens there
	FaultNoHost      Fault = "no such host"       // the name does not resolve
	FaultUnknownCA   Fault = "unknown CA"         // etcd's certificate is of a CA that is not known here
	FaultOtherName   Fault = "other name"         // etcd's certificate is for another name or address
	FaultExpired     Fault = "expired"            // etcd's certificate is expired, or not valid yet
	FaultClientCert  Fault = "client certificate" // etcd wants another certificate of ours, or one at all
	FaultPlain       Fault = "plain text"         // TLS was tried, and what listens there does not speak it
	FaultTLS         Fault = "TLS"                // plain text was tried, and the connection was cut, as by a server that wants TLS
	FaultOtherServer Fault = "not etcd"           // what listens there does not speak etcd's protocol
	FaultOther       Fault = ""
)

// faults are told by words of the error, the first that occur.
var faults = []struct {
	words  string
	fault  Fault
	advice string
}{
	{"certificate signed by unknown authority", FaultUnknownCA, "the CA of etcd's certificate is not known here: give it"},
	{"certificate has expired or is not yet valid", FaultExpired, "renew etcd's certificate, or set the clock"},
	{"certificate is valid for", FaultOtherName, "name etcd as its certificate does"},
	{"doesn't contain any IP SANs", FaultOtherName, "name etcd as its certificate does"},
	{"certificate is not valid for any names", FaultOtherName, "name etcd as its certificate does"},
	{"remote error: tls: no application protocol", FaultOtherServer, "what listens there is no etcd"},
	{"remote error: tls: ", FaultClientCert, "etcd does not take our certificate, or wants one"},
	{"does not look like a TLS handshake", FaultPlain, "it does not speak TLS: use http://"},
	{"authentication handshake failed: EOF", FaultPlain, "it may not speak TLS: http:// is without"},
	{"authentication handshake failed: read tcp", FaultPlain, "it may not speak TLS: http:// is without"},
	{"error reading server preface: EOF", FaultTLS, "it may want TLS: use https://"},
	{"error reading server preface: connection reset", FaultTLS, "it may want TLS: use https://"},
	{"error reading server preface: read tcp", FaultTLS, "it may want TLS: use https://"},
	{"error reading server preface: http2", FaultOtherServer, "what listens there is no etcd, or wants https://"},
	{"no such host", FaultNoHost, "check the name: it is not known here"},
	{"connection refused", FaultRefused, "nothing listens there: check that etcd runs and can be reached at that address"},
}

// ConnectError is why there is no connection to etcd. It wraps
// messages.ErrUnavailable, and the error of the context that ended meanwhile.
type ConnectError struct {
	Fault Fault
	// Cause is the error of the last attempt, in the words of gRPC. It holds no
	// password.
	Cause string
	// Advice is what to do about it; it may be empty.
	Advice string
	// Proxy is the host and port of the proxy that the environment puts before
	// etcd, if there is one.
	Proxy string

	ctx error
}

// Error says the cause, and what to do.
func (e *ConnectError) Error() string {
	var b strings.Builder
	b.WriteString(e.Cause)
	var hints []string
	if e.Advice != "" {
		hints = append(hints, e.Advice)
	}
	if e.Proxy != "" {
		hints = append(hints, "HTTPS_PROXY puts the proxy "+e.Proxy+" before it: name etcd in NO_PROXY to go past it")
	}
	if len(hints) > 0 {
		b.WriteString(" (" + strings.Join(hints, "; ") + ")")
	}
	if e.ctx != nil {
		b.WriteString(": " + e.ctx.Error())
	}
	return b.String()
}

// Unwrap is messages.ErrUnavailable, and the context's error. A caller that
// went away is no fault of etcd's.
func (e *ConnectError) Unwrap() []error {
	switch e.ctx {
	case nil:
		return []error{messages.ErrUnavailable}
	case context.Canceled: //nolint:errorlint // the very value that contexts have
		return []error{e.ctx}
	}
	return []error{messages.ErrUnavailable, e.ctx}
}

// WithContext is the same error for a context that ended so.
func (e *ConnectError) WithContext(ctx error) *ConnectError {
	c := *e
	c.ctx = ctx
	return &c
}

// forTrouble bounds the question for the last error of a connection, which is
// answered without a packet.
const forTrouble = 100 * time.Millisecond

// Trouble is why a client, made by NewClient, has no connection to etcd at this
// moment: a *ConnectError of the last attempt. It is nil when there is a
// connection, and while the first attempt waits for an answer.
func Trouble(client *clientv3.Client) error {
	if e := troubleOf(client.ActiveConnection(), client.Endpoints()); e != nil {
		return e
	}
	return nil
}

func troubleOf(conn *grpc.ClientConn, endpoints []string) *ConnectError {
	if conn.GetState() != connectivity.TransientFailure {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), forTrouble)
	defer cancel()
	// A request that does not wait is refused with what went wrong last.
	err := conn.Invoke(ctx, "/etcdserverpb.Maintenance/Status", &etcdserverpb.StatusRequest{}, &etcdserverpb.StatusResponse{}, grpc.WaitForReady(false))
	if err == nil || ctx.Err() != nil {
		return nil
	}
	_, cause, ok := strings.Cut(status.Convert(err).Message(), lastError)
	if !ok {
		return nil
	}
	return connectError(cause, endpoints)
}

// How gRPC begins what it says of its last attempt: to a request that does not
// wait for a connection, and to one that ran out of time.
const (
	lastError    = "connection error: desc = "
	lastBalancer = "latest balancer error: "
)

// connectError makes sense of gRPC's text.
func connectError(cause string, endpoints []string) *ConnectError {
	cause = strings.TrimPrefix(cause, lastError)
	if plain, err := strconv.Unquote(cause); err == nil {
		cause = plain
	}
	e := &ConnectError{Cause: withoutPasswords(strings.TrimPrefix(cause, "transport: "), endpoints), Proxy: proxyBefore(endpoints)}
	for _, f := range faults {
		if strings.Contains(cause, f.words) {
			e.Fault, e.Advice = f.fault, f.advice
			break
		}
	}
	return e
}

// withoutPasswords takes out of a text what stands before the @ of an endpoint.
func withoutPasswords(text string, endpoints []string) string {
	for _, e := range endpoints {
		if _, rest, ok := strings.Cut(e, "://"); ok {
			e = rest
		}
		if i := strings.LastIndex(e, "@"); i > 0 {
			text = strings.ReplaceAll(text, e[:i+1], "…@")
		}
	}
	return text
}

// proxyBefore is the proxy that gRPC uses for one of the endpoints: without its
// user, or nothing.
func proxyBefore(endpoints []string) string {
	for _, e := range endpoints {
		if strings.HasPrefix(strings.ToLower(e), "unix") {
			continue
		}
		host := e
		if strings.Contains(e, "://") {
			u, err := url.Parse(e)
			if err != nil {
				continue
			}
			host = u.Host
		}
		p, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
		if err == nil && p != nil {
			return p.Host
		}
	}
	return ""
}

// explainer keeps the reason why a connection of one client cannot be made.
type explainer struct{ endpoints []string }

func newExplainer(endpoints []string) explainer { return explainer{slices.Clone(endpoints)} }

// explain gives a call that ended with its context, while there was no
// connection, the cause. clientv3 would leave only the context's error of it.
func (x explainer) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if _, cause, ok := strings.Cut(status.Convert(err).Message(), lastBalancer); ok {
		return connectError(cause, x.endpoints).WithContext(ctx.Err())
	}
	return err
}

func (x explainer) call(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return x.explain(ctx, invoke(ctx, method, req, reply, cc, opts...))
}

func (x explainer) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	return stream, x.explain(ctx, err)
}

// forConnection bounds how long a stream waits for a connection.
const forConnection = time.Second

// openOnce refuses to open a second stream where one is admitted, and to wait for
// a connection for long. etcd's client takes the code for final.
func (x explainer) openOnce(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if once, admitted := stream.Admitted(ctx); once {
		if !admitted {
			return nil, status.Error(codes.Aborted, "the connection of the watch broke")
		}
		if !connected(ctx, cc) {
			why := "no connection for the watch"
			if e := troubleOf(cc, x.endpoints); e != nil {
				why += ": " + e.Error()
			}
			return nil, status.Error(codes.Aborted, why)
		}
		// Should the connection break now, gRPC tries once more by itself, and
		// would wait for an etcd that is away.
		opts = append(opts[:len(opts):len(opts)], grpc.WaitForReady(false))
	}
	return open(ctx, desc, cc, method, opts...)
}

// connected waits a little for a connection.
func connected(ctx context.Context, cc *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(ctx, forConnection)
	defer cancel()
	for {
		state := cc.GetState()
		if state == connectivity.Ready {
			return true
		}
		cc.Connect()
		if !cc.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
