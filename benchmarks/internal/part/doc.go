// Package part has the processes that a suite starts, and kills, besides its own: an etcd
// outside of the process, the members of a scenario in two halves, and those whose death
// is what is measured. A part is the suite's own program, started again; it says on its
// standard output, one JSON object a line, what happens in it and when.
package part
