package penstock_test
import ("testing";"time";"context")
func TestZZ(t *testing.T) {
	rt := meet(t, space(t))
	orders := register(t, rt, "orders")
	m := joinGroup(t, rt, "orders", "billing")
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 5 {
	send(t, orders, i*100, i*100+100)
	n := 0
	ctx := ctx
	if i == 4 { ctx, cancel = context.WithCancel(t.Context()) } else { ctx, cancel = context.WithCancel(t.Context()) }
	for _, err := range m.Messages(ctx) {
		_ = err
		if n++; n == 100 { cancel() }
	}
	b := time.Now()
	fctx, c := context.WithTimeout(t.Context(), 10*time.Second)
	t.Log(orders.Flush(fctx), time.Since(b), n)
	c()
	}
}
