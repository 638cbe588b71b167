// Package docs is the documentation for users, as pages of Markdown. Its tests run what the
// pages show: commands, snippets of Go, links and tables of names. Nothing imports it.
package docs
