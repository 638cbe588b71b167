package discovery

// TLS to etcd: which endpoints speak it, and certificates in files.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/penstock-io/penstock/messages"
)

// TLSFiles name files with certificates, in PEM.
type TLSFiles struct {
	// CA holds the authorities that etcd's certificate is checked against;
	// without it those of the system count.
	CA string
	// Cert and Key are our certificate for an etcd that asks for one, and its
	// key. Both or none.
	Cert, Key string
}

// Use makes cfg's clients speak TLS with the files as they are at each new
// connection: a certificate that was renewed needs no restart. Files that cannot
// be read then leave those read before in use. Connections that stand are not
// touched. Use reads the files once; its errors wrap messages.ErrInvalid. cfg's
// TLS and transport credentials are replaced.
func (f TLSFiles) Use(cfg *clientv3.Config) error {
	now, err := f.read()
	if err != nil {
		return err
	}
	cfg.TLS = now
	c := &fileCredentials{files: f, last: now}
	cfg.DialOptions = append(cfg.DialOptions[:len(cfg.DialOptions):len(cfg.DialOptions)], grpc.WithTransportCredentials(c))
	return nil
}

func (f TLSFiles) read() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("%w: a certificate for etcd needs its key, and a key its certificate", messages.ErrInvalid)
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: CA of etcd: %w", messages.ErrInvalid, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: CA of etcd: %s holds no certificate", messages.ErrInvalid, f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate for etcd: %w", messages.ErrInvalid, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// fileCredentials read their files at each handshake.
type fileCredentials struct {
	files TLSFiles

	mu   sync.Mutex
	last *tls.Config // read without an error
}

func (c *fileCredentials) fresh() credentials.TransportCredentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, err := c.files.read(); err == nil {
		c.last = now
	}
	return credentials.NewTLS(c.last)
}

// ClientHandshake is called by gRPC for each new connection.
func (c *fileCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.fresh().ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is not for clients.
func (c *fileCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials of a client")
}

// Info describes them to gRPC.
func (c *fileCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone makes credentials that read the same files.
func (c *fileCredentials) Clone() credentials.TransportCredentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &fileCredentials{files: c.files, last: c.last}
}

// OverrideServerName is deprecated in gRPC, and not used.
func (c *fileCredentials) OverrideServerName(string) error {
	return errors.New("the name of the server is that of its endpoint")
}

// CheckTLS checks each endpoint against whether TLS is configured: secured says
// so. etcd's client goes by its first endpoint for all of them, so a list that
// mixes the two would send to some of them what it should not, passwords and
// tokens in plain text included. Each fault wraps messages.ErrInvalid.
func CheckTLS(endpoints []string, secured bool) error {
	var faults []error
	encrypted, plain := "", ""
	for _, e := range endpoints {
		scheme, _, _ := strings.Cut(e, ":")
		switch strings.ToLower(scheme) {
		case "https", "unixs":
			encrypted = e
		case "http":
			plain = e
			if secured {
				faults = append(faults, fmt.Errorf("%w: etcd endpoint %q is plain text, and certificates are given: use https://", messages.ErrInvalid, place(e)))
			}
		default:
			if !secured {
				plain = e
			}
		}
	}
	if len(faults) == 0 && encrypted != "" && plain != "" {
		faults = append(faults, fmt.Errorf("%w: etcd endpoint %q is encrypted and %q is not: use https:// for all, or for none", messages.ErrInvalid, place(encrypted), place(plain)))
	}
	return errors.Join(faults...)
}
