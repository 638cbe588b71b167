// Command tls sends over encrypted links: an authority of its own, a certificate for each
// of three services, and a key in etcd that says which of them may join.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "penstock-tls-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ca, err := newAuthority(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	etcd, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer etcd.Close()

	// Who may write this key says who may join: etcdctl put does it as well.
	client, err := clientv3.New(etcd.Config())
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Put(ctx, "/penstock/allow/orders/billing/billing", "billing.example"); err != nil {
		return err
	}

	start := func(name string, opts ...penstock.StartOption) (*penstock.Runtime, error) {
		certificates, err := ca.issue(name)
		if err != nil {
			return nil, err
		}
		return penstock.Start(ctx, append(opts, penstock.EtcdConfig(etcd.Config()), penstock.LinkTLS(certificates),
			penstock.RequireTLS(), penstock.Listen("tls+tcp://127.0.0.1:0"))...)
	}
	sender, err := start("orders.example", penstock.AllowListedMembers())
	if err != nil {
		return err
	}
	orders, err := sender.Register(ctx, "orders")
	if err != nil {
		return err
	}
	reader, err := start("billing.example")
	if err != nil {
		return err
	}
	billing, err := reader.Join(ctx, "orders", "billing")
	if err != nil {
		return err
	}
	stranger, err := start("shipping.example")
	if err != nil {
		return err
	}
	delayed := stranger.Events(ctx)
	if _, err := stranger.Join(ctx, "orders", "billing"); err != nil {
		return err
	}
	for e := range delayed {
		if _, ok := e.(messages.LinkDelayed); ok {
			fmt.Println("shipping.example gets no link")
			break
		}
	}

	if err := orders.Send(ctx, penstock.Message{Value: []byte("an order")}); err != nil {
		return err
	}
	for msg, err := range billing.Messages(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("billing.example got %s\n", msg.Value)
		msg.Ack()
		break
	}
	return errors.Join(stranger.Stop(ctx), sender.Stop(ctx), reader.Stop(ctx))
}

// authority signs certificates. Real ones come from cert-manager, a SPIFFE agent, or the
// openssl commands of docs/tls.md.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(file string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{file: file, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "links"}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return a, write(file, "CERTIFICATE", der)
}

// issue writes a certificate for a DNS name, and its key.
func (a *authority) issue(name string) (penstock.LinkCertificates, error) {
	base := filepath.Join(filepath.Dir(a.file), name)
	files := penstock.LinkCertificates{CA: a.file, Cert: base + ".crt", Key: base + ".key", Mutual: true}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	if err != nil {
		return files, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return files, err
	}
	return files, errors.Join(write(files.Cert, "CERTIFICATE", der), write(files.Key, "PRIVATE KEY", secret))
}

func write(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
