package peers

import (
	"testing"
	"time"
)

// Actors ask for the token while somebody binds the listener, which may take as long as a
// server of names does.
func TestNobodyWaitsForAName(t *testing.T) {
	p := New(nil, "")
	p.binding.Lock()
	defer p.binding.Unlock()
	told := make(chan string, 1)
	go func() { told <- p.Token() }()
	select {
	case token := <-told:
		if token != "" {
			t.Errorf("nothing is bound, and the token is %q", token)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits")
	}
	p.Close()
}
