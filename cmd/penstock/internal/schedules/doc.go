// Package schedules has the command schedule: recurring records, listed, made, changed and
// run from a shell.
//
// It promises that a schedule that is added again with the same settings is left as it is.
package schedules
