package recvq

import (
	"fmt"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

// Promise: what an owner lends again is taken before what other owners have lent, and after
// what came before on its own link. Messages keep the order in which they came.
func TestLentAgainGoesBeforeOtherOwners(t *testing.T) {
	for _, lent := range []bool{true, false} {
		t.Run(fmt.Sprint(lent), func(t *testing.T) {
			q, _ := testQueue(func(c *Config) { c.Lent = lent })
			one, two := q.Open("one", 1<<20), q.Open("two", 1<<20)
			comes(t, two, 1)
			comes(t, one, 1)
			comes(t, two, 1)
			if err := arriveAt(one, 2, 1, recordtest.Records(2), nil, true); err != nil {
				t.Fatal(err)
			}
			c, err := q.Consume(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range 4 {
				var d messages.Delivery
				if ok, err := c.next(t.Context(), &worker{}, &d); !ok {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(d.Sender, " ", d.Seq))
			}
			want := []string{"two 1", "one 1", "two 2", "one 2"}
			if lent {
				want = []string{"two 1", "one 1", "one 2", "two 2"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			c.Finish()
			c.Wait()
		})
	}
}
