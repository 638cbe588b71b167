// Package lending has what the members of a shared consumer group lend each other records
// over: pipes of the runtime's own. It is where topics and pipes meet, which do not know
// each other.
//
// The owners of partitions in a process share one sender of the destination of their group
// (keys.Loans), an office. Each member of the group, the owners too, is a member of the one
// group that the destination has. A record travels as a message: its key, headers, times
// and id as they are, its value behind what its owner knows of it.
package lending
