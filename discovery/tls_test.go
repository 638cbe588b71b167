package discovery

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/messages"
)

func TestCheckTLS(t *testing.T) {
	for _, c := range []struct {
		endpoints string
		secured   bool
		fault     string // an endpoint that the error names
	}{
		{"a:1", false, ""},
		{"a:1", true, ""},
		{"http://a:1,b:2", false, ""},
		{"https://a:1,https://b:2", false, ""},
		{"https://a:1,b:2", true, ""},
		{"unix:///a,https://b:2", true, ""},
		{"http://a:1", true, "http://a:1"},
		{"HTTP://a:1", true, "HTTP://a:1"},
		{"https://a:1,http://b:2", true, "http://b:2"},
		{"http://b:2,https://a:1", true, "http://b:2"},
		{"a:1,http://b:2", true, "http://b:2"},
		{"https://a:1,http://b:2", false, "http://b:2"},
		{"http://b:2,https://a:1", false, "https://a:1"},
		{"b:2,https://a:1", false, "b:2"},
		{"https://a:1,unix:///b", false, "unix:///b"},
	} {
		err := CheckTLS(strings.Split(c.endpoints, ","), c.secured)
		if c.fault == "" {
			if err != nil {
				t.Errorf("%s: %v", c.endpoints, err)
			}
			continue
		}
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), `"`+c.fault+`"`) {
			t.Errorf("%s, %v: %v, want %q named", c.endpoints, c.secured, err, c.fault)
		}
	}
	ca := newAuthority(t)
	for _, list := range [][]string{{"http://127.0.0.1:1"}, {"https://127.0.0.1:1", "http://127.0.0.1:2"}} {
		if _, err := NewClient(clientv3.Config{Endpoints: list, TLS: ca.trusting()}); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("a client with certificates speaks plain text: %v", err)
		}
	}
}

// Certificates that were renewed are used without a restart: our own, and the CA.
func TestTLSFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	ca, later := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, 2, "etcd", time.Now().Add(time.Hour), "127.0.0.1")
	endpoint := "https://" + ca.secured(t, cert, key, true)
	copyFile := func(to, from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		etcdtest.Must(t, err)
		etcdtest.Must(t, os.WriteFile(to, b, 0o600))
	}
	dir := t.TempDir()
	files := TLSFiles{CA: dir + "/ca", Cert: dir + "/cert", Key: dir + "/key"}
	oldCert, oldKey := ca.issue(t, 3, "old", time.Now().Add(-time.Minute), "client")
	newCert, newKey := ca.issue(t, 4, "new", time.Now().Add(time.Hour), "client")
	copyFile(files.CA, later.file)
	copyFile(files.Cert, oldCert)
	copyFile(files.Key, oldKey)
	cfg := clientv3.Config{Endpoints: []string{endpoint}}
	etcdtest.Must(t, files.Use(&cfg))
	c, ctx := connect(t, cfg), etcdtest.Context(t)
	c.ActiveConnection().Connect()
	fault := func(f Fault) func() bool {
		return func() bool {
			var e *ConnectError
			return errors.As(Trouble(c), &e) && e.Fault == f
		}
	}
	etcdtest.Eventually(t, "the CA is not known", fault(FaultUnknownCA))
	copyFile(files.CA, ca.file)
	etcdtest.Eventually(t, "our certificate has expired", fault(FaultClientCert))
	etcdtest.Must(t, os.WriteFile(files.Key, []byte("half written"), 0o600)) // what was read before counts
	copyFile(files.Cert, newCert)
	copyFile(files.Key, newKey)
	if _, err := c.Get(ctx, "k"); err != nil {
		t.Error(err)
	}

	for name, f := range map[string]TLSFiles{
		"no such file":    {CA: dir + "/none"},
		"no certificate":  {CA: key},
		"a key is wanted": {Cert: cert},
		"another's key":   {Cert: cert, Key: newKey},
	} {
		if err := f.Use(&clientv3.Config{}); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
