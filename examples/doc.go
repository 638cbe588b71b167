// Package examples has a program in each directory below it. Its tests run them as what
// they are. Nothing imports it.
package examples
