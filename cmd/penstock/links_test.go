package main

// Encrypted links, from the shell.

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// Promise: with certificates send and recv meet over an encrypted link, doctor looks at
// the certificate, and what requires one and has none says which flags give it.
func TestCertificatesFromTheShell(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	flags := func(name string, args ...string) []string {
		f := ca.Issue(t, time.Hour, name)
		return append(args, "--link-cacert", f.CA, "--link-cert", f.Cert, "--link-key", f.Key)
	}
	recv := begin(t, nil, nil, flags("billing.example", "recv", "orders", "billing", "--count", "2", "--link-require-tls")...)
	r, w := io.Pipe()
	send := begin(t, r, nil, flags("orders.example", "send", "orders", "--listen", "tls+tcp://127.0.0.1:0 wss://127.0.0.1:0/orders", "--link-require-tls")...)
	if _, err := io.WriteString(w, "1\n2\n"); err != nil {
		t.Fatal(err)
	}
	if out, _ := recv.ends(cli.ExitDone); out != "1\n2\n" {
		t.Errorf("recv prints %q", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", flags("doctor.example", "doctor")...); strings.Count(out, "certificate: of orders.example") != 2 || !strings.Contains(out, "/orders answers") {
		t.Errorf("doctor prints %s", out)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	send.ends(cli.ExitDone)

	for _, args := range [][]string{{"send", "orders"}, {"recv", "orders", "billing"}} {
		if _, errs := perform(t, cli.ExitUsage, "", append(args, "--link-require-tls")...); !strings.Contains(errs, "--link-cacert") {
			t.Errorf("%s says %q", args[0], errs)
		}
	}
}
