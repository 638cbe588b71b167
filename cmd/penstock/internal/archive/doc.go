// Package archive is the file that a topic is exported to, and imported from.
//
// A file is a line that names the format and its version, and blocks behind it:
//
//	penstock topic archive 1\n
//	header   the topic's settings, from where to where each partition goes, and where groups are
//	records  of one partition, in the order of their offsets; again and again
//	end      how many records there are
//
// A block is its kind, the sizes of its contents as they are and packed, the contents
// packed with Zstandard, and a CRC-32C over all of that:
//
//	kind byte │ raw uvarint │ packed uvarint │ packed bytes │ crc32c, 4 bytes, little endian
//
// Records are as topics have them (pb.Record), each behind the distance of its offset from
// the one before. A block is whole or not at all, so a file that was cut short is good up
// to its last whole block, and an export continues behind that.
//
// It promises: bytes that are read are not trusted. Sizes are checked before memory is
// allocated; what does not decode is an error that wraps messages.ErrCorrupt and says
// where in the file it is; a file without its end is one. What an earlier version wrote
// is read; a later version is refused by name.
package archive
