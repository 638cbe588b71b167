package actors

import "github.com/penstock-io/penstock/messages"

// stats are the counters of this member.
func (in *inlet) stats() messages.MemberStats {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := messages.MemberStats{
		Destination: in.cfg.Destination, Group: in.cfg.Group, Member: in.cfg.ID,
		Delivered: in.gone, Links: len(in.intakes),
	}
	for _, k := range in.intakes {
		k.mu.Lock()
		s.Delivered += k.handed - k.returned
		s.Waiting += int(k.received - k.handed)
		k.mu.Unlock()
	}
	return s
}
