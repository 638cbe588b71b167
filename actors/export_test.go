package actors

// What tests from outside see of an engine.

// Stopping reports whether Stop was called.
func (e *Engine) Stopping() bool { return e.node.Stopping() }
