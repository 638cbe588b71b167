// Package topics has the fault tests of topics.
package topics
