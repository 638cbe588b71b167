package node

// Where this process runs, as others in the same place know it.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
)

// process is drawn once: no other process has it.
var process = RandomID() + RandomID()

// Process tells this process apart from all others.
func Process() string { return process }

// Machine is the same for all processes over one kernel, whatever containers they are in,
// until the kernel ends; empty where the system does not say.
func Machine() string { return machineOf(os.ReadFile("/proc/sys/kernel/random/boot_id")) }

// machineOf hides what the system says: others need not know it.
func machineOf(boot []byte, err error) string {
	boot = bytes.TrimSpace(boot)
	if err != nil || len(boot) < 16 {
		return ""
	}
	sum := sha256.Sum256(append([]byte("penstock machine "), boot...))
	return hex.EncodeToString(sum[:16])
}
