// Package links decides what the links of a runtime may be: where it listens, which of a
// sender's URLs a member dials, and who may join which group. It opens nothing and asks
// nobody.
package links
