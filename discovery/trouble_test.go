package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/messages"
)

// secured starts an etcd that speaks TLS with a certificate, and asks clients for
// one of the authority when mutual.
func (a *authority) secured(t *testing.T, cert, key string, mutual bool) (endpoint string) {
	t.Helper()
	srv, err := embedded.Start(etcdtest.Context(t), "", embedded.UnsafeNoFsync(), embedded.Tune(func(c *embed.Config) {
		c.ListenClientUrls[0].Scheme, c.AdvertiseClientUrls[0].Scheme = "https", "https"
		c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = cert, key
		if mutual {
			c.ClientTLSInfo.ClientCertAuth, c.ClientTLSInfo.TrustedCAFile = true, a.file
		}
	}))
	etcdtest.Must(t, err)
	t.Cleanup(func() { srv.Close() })
	return srv.Endpoint()
}

func pair(t *testing.T, cert, key string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(cert, key)
	etcdtest.Must(t, err)
	return p
}

// Why there is no connection is known as soon as the first attempt failed, and
// is said to whoever ran out of time.
func TestTroubleSaysWhy(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	good, goodKey := ca.issue(t, 2, "good", time.Now().Add(time.Hour), "127.0.0.1")
	old, oldKey := ca.issue(t, 3, "old", time.Now().Add(-time.Hour), "127.0.0.1")
	elsewhere, elsewhereKey := ca.issue(t, 4, "elsewhere", time.Now().Add(time.Hour), "etcd.example")
	oneWay, mutual := ca.secured(t, good, goodKey, false), ca.secured(t, good, goodKey, true)
	expired, renamed := ca.secured(t, old, oldKey, false), ca.secured(t, elsewhere, elsewhereKey, false)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	mail := saying(t, "220 mail.example ESMTP\r\n")

	withCert := ca.trusting()
	withCert.Certificates = []tls.Certificate{pair(t, good, goodKey)}
	for name, c := range map[string]struct {
		endpoint string
		tls      *tls.Config
		fault    Fault
		says     string // empty: it connects
	}{
		"TLS":                    {"https://" + oneWay, ca.trusting(), "", ""},
		"TLS without a scheme":   {oneWay, ca.trusting(), "", ""},
		"mutual TLS":             {"https://" + mutual, withCert, "", ""},
		"wrong CA":               {"https://" + oneWay, other.trusting(), FaultUnknownCA, "unknown authority"},
		"no CA":                  {"https://" + oneWay, nil, FaultUnknownCA, "unknown authority"},
		"expired":                {"https://" + expired, ca.trusting(), FaultExpired, "expired"},
		"other name":             {"https://" + renamed, ca.trusting(), FaultOtherName, "127.0.0.1"},
		"no client certificate":  {"https://" + mutual, ca.trusting(), FaultClientCert, "certificate"},
		"plain text to TLS":      {"http://" + oneWay, nil, FaultTLS, "preface"},
		"TLS to plain text":      {"https://" + shared.Endpoint(), ca.trusting(), FaultPlain, "it may not speak TLS"},
		"TLS to a web server":    {"https://" + web.Listener.Addr().String(), ca.trusting(), FaultPlain, "TLS handshake"},
		"a web server":           {web.URL, nil, FaultOtherServer, "no etcd"},
		"a mail server":          {mail, nil, FaultOtherServer, "no etcd"},
		"refused":                {"127.0.0.1:1", nil, FaultRefused, "connection refused"},
		"refused, with password": {"http://user:hunter2@127.0.0.1:1", nil, FaultRefused, "connection refused"},
		"no such host":           {"nosuch.invalid:2379", nil, FaultNoHost, "no such host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, clientv3.Config{Endpoints: []string{c.endpoint}, TLS: c.tls})
			ctx, cancel := context.WithTimeout(etcdtest.Context(t), etcdtest.Patience)
			defer cancel()
			if c.says == "" {
				if _, err := client.Get(ctx, "k"); err != nil {
					t.Fatal(err)
				}
				if err := Trouble(client); err != nil {
					t.Error(err)
				}
				return
			}
			client.ActiveConnection().Connect()
			var connect *ConnectError
			etcdtest.Eventually(t, "a first attempt fails", func() bool { return errors.As(Trouble(client), &connect) })
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := client.Get(short, "k")
			err = Classify("get", err)
			if !errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, new(*ConnectError)) {
				t.Errorf("a request that ran out of time: %v", err)
			}
			for _, err := range []error{connect, err} {
				if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("it says %v, want %q", err, c.says)
				}
			}
			if connect.Fault != c.fault {
				t.Errorf("the fault is %q, want %q: %v", connect.Fault, c.fault, connect)
			}
		})
	}
}

// saying listens, and says the same to everybody.
func saying(t *testing.T, text string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	etcdtest.Must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(text))
			c.Close()
		}
	}()
	return l.Addr().String()
}

// Passwords in endpoints are not in what is said of them, nor those of a proxy.
func TestConnectErrorHoldsNoPassword(t *testing.T) {
	endpoints := []string{"http://user:hunter2@etcd.example:2379"}
	e := connectError(`connection error: desc = "transport: Error while dialing: dial tcp: lookup user:hunter2@etcd.example: no such host"`, endpoints)
	if e.Fault != FaultNoHost || strings.Contains(e.Error(), "hunter2") || !strings.Contains(e.Error(), "etcd.example") {
		t.Error(e)
	}
	e.Proxy = "proxy.example:3128"
	if s := e.WithContext(context.DeadlineExceeded).Error(); !strings.Contains(s, "proxy.example:3128") || !strings.Contains(s, "NO_PROXY") {
		t.Error(s)
	}
	if err := e.WithContext(context.Canceled); errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Error("a caller that went away is etcd's fault")
	}
}
