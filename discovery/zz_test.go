package discovery
import ("testing";"context";"time";clientv3 "go.etcd.io/etcd/client/v3")
func TestZZ(t *testing.T){
	c := connect(t, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	r := NewRegistry(c, RegistryConfig{Timeout: 300*time.Millisecond})
	ctx,cancel:=context.WithTimeout(t.Context(),100*time.Millisecond); defer cancel()
	t.Log(r.Put(ctx, leased("/a","1")))
	r.SetLease(1)
	t.Log(r.Put(t.Context(), leased("/a","1")))
	w := NewWatch(c,"/x/",WatchConfig{Timeout:300*time.Millisecond})
	ctx,cancel=context.WithTimeout(t.Context(),500*time.Millisecond); defer cancel()
	t.Log(w.Run(ctx, func(ev WatchEvent){ t.Log(ev) }))
}
