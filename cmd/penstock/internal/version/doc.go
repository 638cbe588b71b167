// Package version holds the command version: what this program was built from.
//
// The version is the stamp that the linker gave to main, else that of the module,
// else the commit.
package version
