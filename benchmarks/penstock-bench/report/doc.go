// Package report makes of stored results what people look at: charts, as PNG and
// SVG, tables, in Markdown and for terminals, and the comparison of two files.
//
// It measures nothing. All that it shows is in the files.
package report
