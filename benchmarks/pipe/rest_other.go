//go:build !linux

package main

import "time"

// rest sleeps for d.
func rest(d time.Duration) { time.Sleep(d) }
