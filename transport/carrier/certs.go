package carrier

// Certificates, as they are now: read again when their files have changed.

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Certificates are what a process shows of itself on links, and whom it trusts: files,
// or functions that are asked for each handshake and must not block.
type Certificates struct {
	// CA names a file with the authorities that sign peers' certificates, in PEM.
	CA string
	// Cert and Key name files with this process's certificate, with what leads to its
	// authority, and its key, in PEM. A process that only dials, and whose peers do not
	// demand a certificate, needs none.
	Cert, Key string
	// GetCertificate returns the certificate in place of Cert and Key.
	GetCertificate func() (*tls.Certificate, error)
	// GetRoots returns the authorities in place of CA: another pool when they have changed.
	GetRoots func() (*x509.CertPool, error)
	// VerifyPeer judges a peer by its certificates, its own first, after the authorities
	// have; without CA and GetRoots it alone does, and has to check signatures and times
	// itself. It is asked once for each link, and again when the authorities change.
	VerifyPeer func(chain []*x509.Certificate) error
	// Mutual demands a certificate of each member that dials. Without it, one that is
	// shown is checked.
	Mutual bool
}

// Check finds every fault at once, and reads no file; the error wraps
// messages.ErrInvalid.
func (c *Certificates) Check() error {
	var faults []error
	fault := func(ok bool, what string) {
		if !ok {
			faults = append(faults, fmt.Errorf("certificates of links: %w: %s", messages.ErrInvalid, what))
		}
	}
	fault((c.Cert == "") == (c.Key == ""), "a certificate needs its key, and a key its certificate")
	fault(c.Cert == "" || c.GetCertificate == nil, "Cert and GetCertificate: give one of them")
	fault(c.CA == "" || c.GetRoots == nil, "CA and GetRoots: give one of them")
	fault(c.CA != "" || c.GetRoots != nil || c.VerifyPeer != nil, "whom to trust is missing: give CA, GetRoots or VerifyPeer")
	return errors.Join(faults...)
}

// lookEvery is how often files are looked at, at most: strangers may dial more often.
const lookEvery = time.Second

// TLS is what encrypted links of a process are made with. It is safe for concurrent
// use.
type TLS struct {
	c Certificates
	// Troubled, when set, is told of what cannot be read, and of a certificate that has
	// expired; what was read before stays in use. It is set before anything else is
	// called, is called from many goroutines, and must not block.
	Troubled func(error)

	// looking is held during a look: a file system that does not answer holds up one
	// handshake, and the others go on with what was read before.
	looking sync.Mutex
	looked  time.Time
	stamps  [3]stamp // of the files that were read last

	mu sync.Mutex
	// failures counts the looks in a row at files that could not be read.
	failures int
	// told is the trouble that was told last.
	told  string
	pair  *tls.Certificate
	roots *x509.CertPool
	// era counts the changes of roots.
	era uint64
}

// stamp is by what a file that has changed is known.
type stamp struct {
	at   time.Time
	size int64
}

// NewTLS reads c once; the error wraps messages.ErrInvalid.
func NewTLS(c Certificates) (*TLS, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	t := &TLS{c: c, looked: time.Now(), stamps: c.stamps()}
	pair, roots, err := c.read()
	if err != nil {
		return nil, err
	}
	t.pair, t.roots = pair, roots
	if c.GetCertificate != nil {
		if _, err := t.certificate(); err != nil {
			return nil, fmt.Errorf("%w: %w", messages.ErrInvalid, err)
		}
	}
	if _, _, err := t.authorities(); err != nil {
		return nil, fmt.Errorf("%w: %w", messages.ErrInvalid, err)
	}
	return t, nil
}

// read reads the files.
func (c *Certificates) read() (pair *tls.Certificate, roots *x509.CertPool, err error) {
	if c.CA != "" {
		if roots, err = ReadRoots(c.CA); err != nil {
			return nil, nil, err
		}
	}
	if c.Cert != "" {
		p, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate of links: %w: %s with %s: %w", messages.ErrInvalid, c.Cert, c.Key, err)
		}
		pair = &p
	}
	return pair, roots, nil
}

// ReadRoots reads a file with authorities, in PEM. The error wraps messages.ErrInvalid: one
// certificate that cannot be read is enough.
func ReadRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the path is the operator's
	var roots *x509.CertPool
	if err == nil {
		roots, err = poolOf(text)
	}
	if err != nil {
		return nil, fmt.Errorf("authorities of links: %w: %s: %w", messages.ErrInvalid, file, err)
	}
	return roots, nil
}

// poolOf reads authorities. One that cannot be read is an error: without it links would be
// refused, or end.
func poolOf(text []byte) (*x509.CertPool, error) {
	roots, found := x509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", found, err)
		}
		roots.AddCert(c)
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return nil, fmt.Errorf("what follows certificate %d is cut off, or is not PEM", found)
	case found == 0:
		return nil, errors.New("it holds no certificate")
	}
	return roots, nil
}

func (c *Certificates) stamps() (all [3]stamp) {
	for i, name := range []string{c.CA, c.Cert, c.Key} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

// settled reports whether all files have been as they are for a while: half of one can
// look like a whole one, with fewer authorities.
func settled(stamps [3]stamp, now time.Time) bool {
	for _, s := range stamps {
		if !s.at.IsZero() && now.Sub(s.at).Abs() < lookEvery {
			return false
		}
	}
	return true
}

// look reads the files again when they have changed.
func (t *TLS) look(now time.Time) {
	if !t.looking.TryLock() {
		return
	}
	defer t.looking.Unlock()
	if since := now.Sub(t.looked); since >= 0 && since < lookEvery {
		return
	}
	t.looked = now
	stamps := t.c.stamps()
	if stamps == t.stamps && !t.failing() || !settled(stamps, now) {
		return
	}
	pair, roots, err := t.c.read()
	if err == nil && t.c.stamps() != stamps {
		return // the next look reads what is written now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		// One file may be written and the other not yet.
		if t.failures++; t.failures == 2 {
			t.tell(err)
		}
		return
	}
	t.stamps, t.failures = stamps, 0
	t.pair = pair
	t.trust(roots)
}

func (t *TLS) failing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures > 0
}

// tell reports a trouble once. The caller holds mu.
func (t *TLS) tell(err error) {
	if text := err.Error(); t.Troubled != nil && text != t.told {
		t.told = text
		t.Troubled(err)
	}
}

// Look reports what is wrong with this process's certificate, or that its authorities
// cannot be had, once. It is called now and then.
func (t *TLS) Look(now time.Time) {
	err := t.Faults(now)
	if err == nil {
		_, _, err = t.authorities()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.tell(err)
	} else if t.failures == 0 {
		t.told = ""
	}
}

// trust notes the authorities of now. The caller holds mu.
func (t *TLS) trust(roots *x509.CertPool) {
	if (roots == nil) != (t.roots == nil) || roots != nil && !roots.Equal(t.roots) {
		t.era++
	}
	t.roots = roots
}

// certificate is this process's, now; nil without one.
func (t *TLS) certificate() (*tls.Certificate, error) {
	if t.c.GetCertificate != nil {
		c, err := t.c.GetCertificate()
		if err == nil && (c == nil || len(c.Certificate) == 0) {
			err = errors.New("there is none")
		}
		if err != nil {
			return nil, fmt.Errorf("certificate of links: %w", err)
		}
		return c, nil
	}
	t.look(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pair, nil
}

// authorities are those trusted now, and their era; nil where only VerifyPeer judges.
func (t *TLS) authorities() (roots *x509.CertPool, era uint64, err error) {
	if t.c.GetRoots != nil {
		roots, err := t.c.GetRoots()
		if err == nil && roots == nil {
			err = errors.New("there are none")
		}
		if err != nil {
			return nil, 0, fmt.Errorf("authorities of links: %w", err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.trust(roots)
		return roots, t.era, nil
	}
	t.look(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roots, t.era, nil
}

// Identities are the names under which this process is to be listed, so that members
// know it. The error wraps messages.ErrInvalid when its certificate has none, or there
// is no certificate.
func (t *TLS) Identities() ([]string, error) {
	c, err := t.certificate()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("certificate of links: %w: a listener needs one", messages.ErrInvalid)
	}
	leaf, err := leafOf(c)
	if err != nil {
		return nil, err
	}
	names := identityOf(leaf).names()
	if len(names) == 0 {
		return nil, fmt.Errorf("certificate of links: %w: it names neither a URI nor a DNS name", messages.ErrInvalid)
	}
	return names, nil
}

// Faults says what is wrong with this process's certificate at that time; nil when
// nothing is, or there is none.
func (t *TLS) Faults(now time.Time) error {
	c, err := t.certificate()
	if err != nil || c == nil {
		return err
	}
	leaf, err := leafOf(c)
	switch {
	case err != nil:
		return err
	case now.After(leaf.NotAfter):
		return fmt.Errorf("certificate of links: it expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("certificate of links: it is valid from %s on", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("certificate of links: %w: %w", messages.ErrInvalid, err)
	}
	return leaf, nil
}

// verify checks a peer's certificates, as of at, for what they are used for.
func (t *TLS) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, at time.Time) error {
	roots, _, err := t.authorities()
	if err != nil {
		return err
	}
	if roots != nil {
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			return err
		}
	}
	if t.c.VerifyPeer != nil {
		return t.c.VerifyPeer(chain)
	}
	return nil
}
