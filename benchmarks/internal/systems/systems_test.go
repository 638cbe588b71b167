package systems

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

func TestMain(m *testing.M) {
	side.Main(All())
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the ends, which are many
	goleak.VerifyTestMain(m)
}

// Each system carries everything, whichever way it is sent; its ends check that.
func TestSystemsCarryEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const short = 20 * time.Millisecond
	flat := []side.Run{{Way: side.Flat, Size: 64, For: short}, {Way: side.Flat, Size: 64 << 10, For: short}}
	pipe := append([]side.Run{
		{Way: side.Paced, Size: 64, Rate: 10000, For: short}, {Way: side.Lone, Size: 64, For: short},
	}, flat...)
	sizes := pipe[2:]
	for i := range flat {
		flat[i].Later = true
	}
	log := append([]side.Run{
		{Way: side.Paced, Size: 64, Rate: 1000, For: short}, {Way: side.Lone, Size: 64, For: short},
		{Way: side.Batch, Size: 64, Batch: 100, For: short, Later: true},
	}, flat...)
	lone := []side.Run{{Way: side.Lone, Size: 64, For: short}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		at   side.Place
		runs []side.Run
	}{
		"penstock":         {side.Place{Groups: 3}, pipe},
		"penstock-request": {side.Place{}, lone},
		"penstock-topic":   {side.Place{Partitions: 4}, log},
		"penstock-inturn":  {side.Place{Partitions: 8}, flat[:1]},
		"penstock-tls":     {side.Place{}, sizes},
		"penstock-ws":      {side.Place{}, sizes},
		"penstock-wss":     {side.Place{}, sizes},
		"penstock-ipc":     {side.Place{}, sizes},
		"penstock-inproc":  {side.Place{}, sizes},
		"penstock-tcp-one": {side.Place{}, sizes},
		"mangos-inproc":    {side.Place{}, sizes},
		"rawtls":           {side.Place{}, sizes},
		"mangos":           {side.Place{}, pipe},
		"mangos-request":   {side.Place{}, lone},
		"rawtcp":           {side.Place{}, pipe},
		"etcdput":          {side.Place{}, lone},
		"etcdlimit":        {side.Place{Partitions: 1}, flat},
		"toy":              {side.Place{Partitions: ToyPartitions}, flat[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := side.Start(ctx, self, name, want.at, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range want.runs {
				out, err := s.Run(ctx, run)
				if err != nil || out.Count == 0 || out.PerSec <= 0 {
					t.Fatalf("%+v: %+v, %v", run, out, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
