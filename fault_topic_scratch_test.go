package penstock_test

import (
	"testing"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"github.com/penstock-io/penstock/messages"
)

func TestScratchKilled(t *testing.T) {
	c := newCluster(t)
	p := newEtcdParty(t, clientv3.Config{Endpoints: c.endpoints, DialTimeout: 5 * time.Second}, 4)
	for i, rt := range p.rts {
		go func() {
			for e := range rt.Events(t.Context()) {
				if _, ok := e.(messages.PartitionClaimed); ok { continue }
				s := fmt.Sprintf("%s rt%d %T%+v\n", time.Now().Format("05.000"), i, e, e)
				if len(s) > 260 { s = s[:260]+"\n" }
				fmt.Print(s)
			}
		}()
	}
	for i := range c.members {
		fmt.Println(time.Now().Format("05.000"), "KILL", i)
		c.members[i].kill(t)
		p.acct.flows(t, "consumer 0", 300)
		p.acct.flows(t, "consumer 1", 300)
		c.members[i] = spawnTopic(t, c.specs[i], newAccount())
		c.members[i].says(t, "ready")
		fmt.Println(time.Now().Format("05.000"), "BACK", i)
		p.acct.flows(t, "", 300)
	}
	p.unharmed(t)
}
