package tables_test

import (
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }
