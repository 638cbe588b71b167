package carrier

import (
	"net"
	"time"

	"github.com/gobwas/ws"
)

// LookLater lets the time pass between two looks at files.
func (t *TLS) LookLater() {
	t.looking.Lock()
	defer t.looking.Unlock()
	t.looked = time.Time{}
}

// MetEarlier lets a stream's handshake have ended so long before.
func MetEarlier(c net.Conn, by time.Duration) {
	s := c.(*tlsConn)
	s.met = s.met.Add(-by)
}

// WebSocketOf is the listener's end of a stream, at the path /a.
func WebSocketOf(c net.Conn) net.Conn {
	return newWebSocket(c, ws.StateServerSide, func(c *webSocket) error { return c.accept("/a") })
}
