package keyed

// When entries expire.

import (
	"container/heap"
	"time"
)

// dues are the entries that expire, the first to do so first. Some were replaced since.
type dues struct {
	ttl time.Duration // of the topic
	due dueHeap
}

// due is an entry that expires, without its bytes.
type due struct {
	at        int64
	key       string
	offset    int64
	partition int32
}

func (d *dues) add(e *Entry) {
	if at := e.expires(d.ttl); at != 0 {
		heap.Push(&d.due, due{at, e.key, e.offset, e.partition})
	}
}

// next takes out one that has expired by now.
func (d *dues) next(now int64) (due, bool) {
	if len(d.due) == 0 || d.due[0].at > now {
		return due{}, false
	}
	return heap.Pop(&d.due).(due), true
}

type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	n := len(*h) - 1
	last := (*h)[n]
	*h = (*h)[:n]
	return last
}
