package socket

// One address at which a listener accepts: what is bound, and what others dial.

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

type door struct {
	url   address.URL
	ln    net.Listener
	hosts func(bind string) []string

	mu   sync.Mutex
	urls []string // advertised now
	ever []string // advertised at any time: members may still dial them
	// trouble is why members cannot dial it; nil when they can.
	trouble error
}

// look finds out what to advertise now. It returns why members cannot dial it any more, where
// that is news.
func (d *door) look() (news error) {
	var trouble error
	if r, ok := d.ln.(carrier.Refresher); ok {
		trouble = r.Refresh()
	}
	port := "0"
	if at, ok := d.ln.Addr().(*net.TCPAddr); ok {
		port = strconv.Itoa(at.Port)
	}
	urls := d.url.Advertised(port, d.hosts)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.urls = urls
	for _, u := range urls {
		if !slices.Contains(d.ever, u) {
			d.ever = append(d.ever, u)
		}
	}
	if trouble != nil && (d.trouble == nil || d.trouble.Error() != trouble.Error()) {
		news = trouble
	}
	d.trouble = trouble
	return news
}

// advertised are the URLs of now.
func (d *door) advertised() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.urls)
}

// dialled are the URLs by which members may have come.
func (d *door) dialled() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ever)
}

// exposed are the URLs at which others than this machine can reach the door, and read
// what goes through it; a proxy in front does not change that.
func (d *door) exposed() []string {
	at, ok := d.ln.Addr().(*net.TCPAddr)
	if !ok || d.url.Encrypted() || at.IP.IsLoopback() {
		return nil
	}
	return d.url.Behind().Advertised(strconv.Itoa(at.Port), d.hosts)
}

// session is who the peer has proved to be, and what binds a proof to this stream:
// nothing where the stream proves nothing.
func (w *wire) session() (id carrier.Identity, exporter []byte, err error) {
	s, ok := w.c.(carrier.Session)
	if !ok {
		return carrier.Identity{}, nil, nil
	}
	exporter, err = s.Exporter()
	return s.Identity(), exporter, err
}

// recheck ends the wire when the peer's certificates are not trusted any more.
func (w *wire) recheck() {
	if s, ok := w.c.(carrier.Session); ok {
		if err := s.Recheck(); err != nil {
			_ = w.end(fmt.Errorf("%w: not trusted any more: %w", ErrTLS, err))
		}
	}
}
