package carrier

import "time"

// LookLater lets the time pass between two looks at files.
func (t *TLS) LookLater() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked = time.Time{}
}
