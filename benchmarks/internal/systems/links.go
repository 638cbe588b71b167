package systems

// Pipes over each transport, with everything else as it is over tcp.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	_ "go.nanomsg.org/mangos/v3/transport/inproc" // the scheme of mangos within a process

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// link is where a sender listens over one transport. DIR stands for the side's directory.
type link struct {
	url       string
	encrypted bool
}

var (
	overTCP = link{url: "tcp://127.0.0.1:0"}
	overTLS = link{url: "tls+tcp://127.0.0.1:0", encrypted: true}
	overWS  = link{url: "ws://127.0.0.1:0"}
	overWSS = link{url: "wss://127.0.0.1:0", encrypted: true}
	overIPC = link{url: "ipc://DIR/sock"}
	overMem = link{url: "inproc://bench"}
)

// options are those of a runtime.
func (l link) options(at side.Place) ([]penstock.StartOption, error) {
	if !l.encrypted {
		return nil, nil
	}
	files, err := certificate(at.Dir)
	return []penstock.StartOption{penstock.LinkTLS(files), penstock.RequireTLS()}, err
}

// apart is a system of two processes.
func (l link) apart() side.System {
	return side.System{
		Broker: addresses,
		Receive: func(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
			opts, err := l.options(at)
			if err != nil {
				return nil, err
			}
			return receiveOver(ctx, at, to, opts)
		},
		Send: func(ctx context.Context, at side.Place) (side.Sender, error) { return l.send(ctx, at) },
	}
}

func (l link) send(ctx context.Context, at side.Place) (side.Sender, error) {
	opts, err := l.options(at)
	if err != nil {
		return nil, err
	}
	d, err := register(ctx, at, append(opts, penstock.Listen(strings.Replace(l.url, "DIR", at.Dir, 1)))...)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// within is a system of one process, with both runtimes and the etcd that has the addresses.
func (l link) within() side.System {
	return side.System{Within: func(ctx context.Context, at side.Place, to []*side.Receiver) (_ side.Sender, err error) {
		b := &both{}
		defer func() {
			if err != nil {
				err = errors.Join(err, b.Close())
			}
		}()
		if b.broker, err = addresses(ctx); err != nil {
			return nil, err
		}
		at.Address = b.broker.Address()
		if b.to, err = receiveOver(ctx, at, to, nil); err != nil {
			return nil, err
		}
		if b.Sender, err = l.send(ctx, at); err != nil {
			return nil, err
		}
		return b, nil
	}}
}

// both is what is in one process.
type both struct {
	side.Sender
	to     side.Receiving
	broker side.Broker
}

func (b *both) Close() error {
	var errs []error
	if b.Sender != nil {
		errs = append(errs, b.Sender.Close())
	}
	if b.to != nil {
		errs = append(errs, b.to.Close())
	}
	if b.broker != nil {
		errs = append(errs, b.broker.Close())
	}
	return errors.Join(errs...)
}

// The name in the certificate, and the files in a directory.
const (
	certName = "bench.example"
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// certificate is one that is its own authority, which the first end of a side makes.
func certificate(dir string) (penstock.LinkCertificates, error) {
	cert, key := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	files := penstock.LinkCertificates{CA: cert, Cert: cert, Key: key}
	if _, err := os.Stat(key); err == nil {
		return files, nil
	}
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{certName},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, c, c, secret.Public(), secret)
	if err != nil {
		return files, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return files, err
	}
	return files, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// crypto/tls alone, as raw TCP is: the limit of what TLS does on a machine.

// rawTLS is what both ends agree on, as links do.
func rawTLS(at side.Place) (*tls.Config, error) {
	files, err := certificate(at.Dir)
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(text)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: certName,
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}, nil
}

func receiveTLS(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
	cfg, err := rawTLS(at)
	if err != nil {
		return nil, err
	}
	return receiveRaw(ctx, to[0], func(l net.Listener) net.Listener { return tls.NewListener(l, cfg) })
}

func sendTLS(ctx context.Context, at side.Place) (side.Sender, error) {
	cfg, err := rawTLS(at)
	if err != nil {
		return nil, err
	}
	return sendRaw(ctx, at, func(c net.Conn) net.Conn { return tls.Client(c, cfg) })
}

// mangosWithin is plain mangos in the memory of the process.
func mangosWithin(ctx context.Context, at side.Place, to []*side.Receiver) (side.Sender, error) {
	got, err := listenAt(pull.NewSocket, "inproc://bench", take1(to[0]))
	if err != nil {
		return nil, fmt.Errorf("mangos within a process: %w", err)
	}
	at.Address = got.Address()
	s, err := push.NewSocket()
	p, err := dial(ctx, at, s, err)
	if err != nil {
		return nil, errors.Join(err, got.Close())
	}
	return &both{Sender: pusher{p}, to: got}, nil
}

// take1 is how a PULL socket receives one message.
func take1(r *side.Receiver) func(mangos.Socket) error {
	return func(s mangos.Socket) error {
		m, err := s.RecvMsg()
		if err == nil {
			r.Take(m.Body)
			m.Free()
		}
		return err
	}
}
