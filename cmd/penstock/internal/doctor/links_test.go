package doctor

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
)

// Promise: what is wrong with a sender's certificate is said, with what to do.
func TestJudgeCertificate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	id, err := url.Parse("spiffe://x/orders")
	if err != nil {
		t.Fatal(err)
	}
	of := func(from, until time.Duration) []*x509.Certificate {
		return []*x509.Certificate{{URIs: []*url.URL{id}, DNSNames: []string{"orders.example"}, NotBefore: now.Add(from), NotAfter: now.Add(until)}}
	}
	good := of(-time.Hour, time.Hour)
	for name, c := range map[string]struct {
		chain  []*x509.Certificate
		listed []string
		roots  *x509.CertPool
		want   verdict
		says   string
	}{
		"well":             {good, []string{"spiffe://x/orders"}, nil, verdictOK, "not checked"},
		"by its DNS name":  {good, []string{"Orders.example"}, nil, verdictOK, "orders.example"},
		"of somebody else": {good, []string{"spiffe://x/Orders"}, nil, verdictFail, "etcd lists the sender as spiffe://x/Orders"},
		"not listed":       {good, nil, nil, verdictFail, "etcd lists the sender as"},
		"expired":          {of(-time.Hour, -time.Second), []string{"orders.example"}, nil, verdictFail, "expired"},
		"not yet":          {of(time.Hour, 2*time.Hour), []string{"orders.example"}, nil, verdictFail, "valid from"},
		"nearly over":      {of(-99*time.Hour, time.Hour), []string{"orders.example"}, nil, verdictWarn, "renews"},
		"another CA":       {good, []string{"orders.example"}, x509.NewCertPool(), verdictFail, "--link-cacert"},
		"of a stranger":    {[]*x509.Certificate{{DNSNames: []string{"a\x1b[2J"}, NotBefore: now, NotAfter: now.Add(time.Hour)}}, []string{"orders.example"}, nil, verdictFail, "a\ufffd[2J"},
	} {
		got := judgeCertificate("sender", "tls+tcp://h:1", c.chain, c.listed, c.roots, now)
		if got.Status != c.want || !strings.Contains(got.Found+" "+got.Do, c.says) || got.Status == verdictFail && got.Do == "" {
			t.Errorf("%s: %+v, want %s with %q", name, got, c.want, c.says)
		}
	}
}

// Promise: members and senders that cannot meet are named, and nobody else.
func TestJudgeMeeting(t *testing.T) {
	for name, c := range map[string]struct {
		urls []string
		tls  string
		says string
	}{
		"both plain":          {[]string{"tcp://h:1"}, "", ""},
		"plain and preferred": {[]string{"tcp://h:1"}, "preferred", ""},
		"plain and required":  {[]string{"tcp://h:1"}, "required", "requires TLS"},
		"both and required":   {[]string{"tcp://h:1", "tls+tcp://h:2"}, "required", ""},
		"both and none":       {[]string{"tcp://h:1", "tls+tcp://h:2"}, "", ""},
		"a proxy, required":   {[]string{"wss://h:443/?via=proxy"}, "required", "requires TLS"},
		"a proxy, and none":   {[]string{"wss://h:443/?via=proxy"}, "", ""},
		"wss and required":    {[]string{"ws://h:1/", "wss://h:2/"}, "required", ""},
		"wss and none":        {[]string{"wss://h:2/"}, "", "no certificates"},
		"encrypted and none":  {[]string{"tls+tcp://h:2"}, "", "no certificates"},
	} {
		got := judgeMeeting(&inventory.Destination{
			Name: "orders", Senders: []inventory.Sender{{ID: "s", URLs: c.urls}},
			Groups: []*inventory.Group{{Name: "billing", Members: []inventory.Member{{ID: "m", TLS: c.tls}}}},
		})
		switch {
		case c.says == "" && len(got) > 0:
			t.Errorf("%s: %+v", name, got)
		case c.says != "" && (len(got) != 1 || got[0].Status != verdictFail || got[0].Do == "" || !strings.Contains(got[0].Found, c.says)):
			t.Errorf("%s: %+v, want %q", name, got, c.says)
		}
	}
}
