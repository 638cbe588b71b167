package penstock_test

// An example of an etcd that is reached by TLS, and such an etcd for it.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
)

// Certificates for etcd come from files, which are read again when they are renewed.
func ExampleEtcdConfig() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	address, dir, end := etcdWithTLS()
	defer end()

	cfg := clientv3.Config{Endpoints: []string{"https://" + address}} // and Username, Password
	files := discovery.TLSFiles{
		CA:   filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), // where etcd asks for one
	}
	check(files.Use(&cfg))
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(cfg), penstock.Prefix("/example-tls"), penstock.Listen("tcp://127.0.0.1:0"))
	check(err)
	fmt.Println("ready:", rt.Health(ctx).Ready)
	check(rt.Stop(ctx))
	// Output: ready: true
}

// etcdWithTLS stands before the tests' etcd and speaks TLS, with certificates in dir that
// it wants from clients, too.
func etcdWithTLS() (address, dir string, end func()) {
	dir, err := os.MkdirTemp("", "penstock-example-tls-")
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	check(err)
	der8, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8})
	for name, text := range map[string][]byte{"ca.pem": certPEM, "cert.pem": certPEM, "key.pem": keyPEM} {
		check(os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}

	own, err := tls.X509KeyPair(certPEM, keyPEM)
	check(err)
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(certPEM)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
	})
	check(err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { passOn(conn, etcd().Endpoints[0]) })
		}
	})
	return ln.Addr().String(), dir, func() {
		check(ln.Close())
		running.Wait() // the runtime has closed its connections
		check(os.RemoveAll(dir))
	}
}

// passOn connects conn with address until one of both ends.
func passOn(conn net.Conn, address string) {
	defer conn.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	var ends sync.WaitGroup
	ends.Go(func() {
		_, _ = io.Copy(to, conn) // how a connection ends does not matter here
		_ = to.Close()
	})
	_, _ = io.Copy(conn, to)
	_ = conn.Close()
	ends.Wait()
}
