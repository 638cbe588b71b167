package conformance

// The handshake, with peers that keep to it and that do not.

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

var handshakeTests = map[string]func(*testing.T, *suite){
	"Welcomed": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		cfg := snd.member()
		cfg.Hello.Mode, cfg.Hello.Policy, cfg.Hello.KeepFor = pb.Mode_KEY_AFFINITY, pb.QueuePolicy_DROP_OLDEST, time.Minute
		sc, mc := snd.link(t, func(c *socket.DialConfig) { *c = cfg })

		want := cfg.Hello
		want.URL, want.Version, want.Level = snd.URL(), sc.Hello().Version, pb.LevelNow
		if sc.Hello() != want {
			t.Errorf("the sender heard %+v, want %+v", sc.Hello(), want)
		}
		if got, want := sc.Peer(), (socket.Peer{ID: "member-1", Incarnation: "life-1", MaxMessage: maxMessage, Level: pb.LevelNow}); got != want {
			t.Errorf("the sender's peer is %+v, want %+v", got, want)
		}
		if got, want := mc.Peer(), (socket.Peer{ID: senderID, Incarnation: "life-1", MaxMessage: maxMessage, Level: pb.LevelNow}); got != want {
			t.Errorf("the member's peer is %+v, want %+v", got, want)
		}
		if st := snd.Stats(); st.Accepted != 1 || st.Pending != 0 || st.Open != 1 || len(st.Refused) != 0 {
			t.Errorf("stats %+v", st)
		}
		if sc.Welcome(senderID, maxMessage) == nil {
			t.Error("a second welcome was possible")
		}
	},
	"WrongToken": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		snd.welcomeAll(t, nil)
		cfg := snd.member()
		cfg.Token = bytes.Repeat([]byte("x"), 32)
		expectRefusedDial(t, cfg, pb.Code_BAD_PROOF)
		snd.expectRefusal(t, socket.ReasonBadProof)
	},
	"UnknownDestination": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		snd.welcomeAll(t, nil)
		known, unknown := snd.member(), snd.member()
		known.Token = bytes.Repeat([]byte("x"), 32)
		unknown.Hello.Destination = "nothing"
		a := expectRefusedDial(t, known, pb.Code_BAD_PROOF)
		b := expectRefusedDial(t, unknown, pb.Code_BAD_PROOF)
		if *a != *b {
			t.Errorf("a stranger can tell a known destination (%v) from an unknown one (%v)", a, b)
		}
		snd.expectRefusal(t, socket.ReasonUnknownDestination)
	},
	"ShortTokenOpensNothing": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) {
			cfg.Lookup = func(string) (socket.Secret, bool) { return socket.Secret{}, true }
		})
		snd.welcomeAll(t, nil)
		expectRefusedDial(t, snd.member(), pb.Code_BAD_PROOF)
	},
	"WrongVersion": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		c := s.rawMember(t, snd)
		must(t, rawWrite(c, helloFrame(snd.URL(), destination, 99)))
		expectBye(t, c, pb.Code_VERSION)
		snd.expectRefusal(t, socket.ReasonVersion)
	},
	"WrongSenderProof": func(t *testing.T, s *suite) {
		for name, answer := range map[string]func(memberMAC []byte) []byte{
			"random":    func([]byte) []byte { return bytes.Repeat([]byte{7}, 32) },
			"empty":     func([]byte) []byte { return nil },
			"reflected": func(mac []byte) []byte { return mac },
		} {
			t.Run(name, func(t *testing.T) {
				url := s.impostor(t, func(c net.Conn) {
					if _, err := rawRead(c); err != nil {
						return
					}
					_ = rawWrite(c, &pb.Frame{Kind: &pb.Frame_Challenge{Challenge: &pb.Challenge{Nonce: make([]byte, 32), Version: 1}}})
					f, err := rawRead(c)
					if err != nil {
						return
					}
					_ = rawWrite(c, &pb.Frame{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{Mac: answer(f.GetProof().GetMac()), Sender: senderID, MaxMessage: 1 << 20}}})
				})
				cfg := s.dialing(url)
				if _, err := socket.Dial(within(t), cfg); !errors.Is(err, socket.ErrPeerProof) {
					t.Fatalf("dial returns %v, want ErrPeerProof", err)
				}
			})
		}
	},
	"DialledUnderAnotherAddress": func(t *testing.T, s *suite) {
		// Whoever makes members dial him and passes the handshake on must not
		// get a connection. Here the listener advertises a proxy, and is dialled
		// as itself.
		snd, _ := s.proxied(t)
		snd.welcomeAll(t, nil)
		cfg := snd.member()
		cfg.URL = snd.cfg.URLs[0].Scheme + "://" + snd.Addr().String() + snd.cfg.URLs[0].Path
		if cfg.URL == snd.URL() {
			t.Fatal("the proxy is not in between")
		}
		expectRefusedDial(t, cfg, pb.Code_BAD_PROOF)
		snd.expectRefusal(t, socket.ReasonAddress)
	},
	"Refused": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		ctx := within(t)
		go func() {
			if c, err := snd.Accept(ctx); err == nil {
				c.Refuse(pb.Code_MODE_MISMATCH, "the group is a failover group")
			}
		}()
		e := expectRefusedDial(t, snd.member(), pb.Code_MODE_MISMATCH)
		if !strings.Contains(e.Error(), "failover group") {
			t.Errorf("%q does not say why", e)
		}
		snd.expectRefusal(t, socket.ReasonRefused)
	},
	"NobodyAccepts": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.HandshakeTimeout = 100 * time.Millisecond })
		_, err := socket.Dial(within(t), snd.member())
		if !errors.Is(err, socket.ErrPeerClosed) {
			t.Fatalf("dial returns %v, want ErrPeerClosed", err)
		}
		snd.expectRefusal(t, socket.ReasonTimeout)
	},
	"WelcomeAfterTheDeadline": func(t *testing.T, s *suite) {
		snd := s.listen(t, func(cfg *socket.ListenerConfig) { cfg.HandshakeTimeout = 300 * time.Millisecond })
		go func() { _, _ = socket.Dial(within(t), snd.member()) }()
		c, err := snd.Accept(within(t))
		must(t, err)
		snd.expectRefusal(t, socket.ReasonTimeout)
		if err := c.Welcome(senderID, 1); !errors.Is(err, socket.ErrHandshakeTimeout) {
			t.Fatalf("welcome returns %v, want ErrHandshakeTimeout", err)
		}
	},
	"MessagesTooLargeForTheMember": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		snd.welcomeAll(t, nil)
		cfg := snd.member()
		cfg.MaxFrame = 64 << 10
		if _, err := socket.Dial(within(t), cfg); !errors.Is(err, messages.ErrTooLarge) {
			t.Fatalf("dial returns %v, want ErrTooLarge", err)
		}
	},
	"SilentServer": func(t *testing.T, s *suite) {
		// Accepts and says nothing: Dial must obey its context at once.
		url := s.mute(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		enough := errors.New("enough")
		time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
		cfg := s.dialing(url)
		began := time.Now()
		_, err := socket.Dial(ctx, cfg)
		if !errors.Is(err, enough) {
			t.Fatalf("dial returns %v, want its context's cause", err)
		}
		if d := time.Since(began); d > patience/2 {
			t.Errorf("dial took %v after its context had ended", d)
		}
		cfg.Timeout = 50 * time.Millisecond
		if _, err := socket.Dial(within(t), cfg); !errors.Is(err, socket.ErrHandshakeTimeout) {
			t.Fatalf("dial returns %v, want ErrHandshakeTimeout", err)
		}
	},
	"NobodyListens": func(t *testing.T, s *suite) {
		snd := s.listen(t)
		must(t, snd.Close())
		if _, err := socket.Dial(within(t), snd.member()); err == nil {
			t.Fatal("dialled a closed listener")
		}
	},
}

// dialing is a member's configuration for any URL.
func (s *suite) dialing(url string) socket.DialConfig {
	return socket.DialConfig{
		URL: url, Token: token, Timeout: patience, TLS: s.features.TLS, Identities: s.features.Identities,
		Hello: frame.Hello{Destination: destination, Group: group, Member: "member-1"},
	}
}

func expectRefusedDial(t *testing.T, cfg socket.DialConfig, want pb.Code) *socket.RefusedError {
	t.Helper()
	_, err := socket.Dial(within(t), cfg)
	var refused *socket.RefusedError
	if !errors.As(err, &refused) || refused.Code != want {
		t.Fatalf("dial returns %v, want a refusal with %s", err, want)
	}
	if strings.Contains(err.Error(), string(cfg.Token)) {
		t.Errorf("the error tells the token: %v", err)
	}
	return refused
}

// impostor listens and speaks SP; what it says after that is up to serve.
func (s *suite) impostor(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	return s.pretend(t, func(c net.Conn) {
		var head [8]byte
		if _, err := c.Write(pushHeader); err != nil {
			return
		}
		if _, err := c.Read(head[:]); err != nil {
			return
		}
		serve(c)
		_, _ = c.Read(head[:])
	})
}

// mute accepts and says nothing.
func (s *suite) mute(t *testing.T) (url string) {
	t.Helper()
	return s.pretend(t, func(c net.Conn) {
		var b [1]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
		}
	})
}

func (s *suite) pretend(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	if s.features.RawListen == nil {
		t.Skip("the transport has no bare streams")
	}
	ln, at := s.features.RawListen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	u, err := address.Parse(s.url(t))
	must(t, err)
	return u.Scheme + "://" + at + u.Path
}
