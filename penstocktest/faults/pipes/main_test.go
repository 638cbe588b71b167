package pipes_test

import (
	"testing"

	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

func TestMain(m *testing.M) {
	harness.RunAsChild(childEnv, childSpec.run)
	harness.Main(m)
}

func TestPromisesNameTheirTests(t *testing.T) { harness.CheckPromises(t) }
