package pipes_test

import (
	"testing"

	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// prepare is what there is to do before anything listens.
var prepare = func() {}

func TestMain(m *testing.M) {
	harness.RunAsChild(childEnv, childSpec.run)
	prepare()
	harness.Main(m)
}

func TestPromisesNameTheirTests(t *testing.T) { harness.CheckPromises(t) }
