package docs_test

import (
	"context"
	"errors"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstock-io/penstock"
)

// Names of metrics, events, options and errors that the pages list.

const metricsPage = "docs/metrics.md"

// rows returns the rows of the tables in a page, by their first cell without
// its backquotes, under headings that match.
func rows(p *page, under string) map[string][]string {
	all := map[string][]string{}
	here := false
	for _, line := range p.prose {
		if m := heading.FindStringSubmatch(line); m != nil {
			here = strings.Contains(strings.ToLower(m[1]), under)
			continue
		}
		if !here || !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all[strings.Trim(cells[0], "` ")] = cells[1:]
	}
	return all
}

// Promise: the page of metrics lists each metric with its kind, unit and labels,
// and none that does not exist.
func TestMetricsListed(t *testing.T) {
	listed := rows(read(t, metricsPage)[0], "metrics")
	ctx := t.Context()
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()), penstock.Prefix("/docs-metrics"), penstock.Listen("tcp://127.0.0.1:0"))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(ctx)
	_, err = rt.Metrics(provider)
	check(err)
	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	topic, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{})
	check(err)
	_, _, err = topic.Put(ctx, penstock.Message{Value: []byte("x")})
	check(err)
	export, err := topic.Subscribe(ctx, "export")
	check(err)
	_, err = topic.Table(ctx)
	check(err)
	check(orders.Send(ctx, penstock.Message{Value: []byte("x")}))
	handled := errors.New("handled")
	check(until(handled, func(ctx context.Context, stop context.CancelCauseFunc) error {
		return billing.Consume(ctx, func(context.Context, penstock.Delivery) error { stop(handled); return nil })
	}))
	check(until(handled, func(ctx context.Context, stop context.CancelCauseFunc) error {
		return export.Consume(ctx, func(context.Context, penstock.Record) error { stop(handled); return nil })
	}))
	var collected metricdata.ResourceMetrics
	check(reader.Collect(ctx, &collected))
	check(rt.Stop(ctx))

	found := map[string]bool{}
	for _, scope := range collected.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = true
			kind, labels := "counter", ""
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				labels = labelsOf(data.DataPoints)
			case metricdata.Gauge[int64]:
				kind, labels = "gauge", labelsOf(data.DataPoints)
			case metricdata.Gauge[float64]:
				kind, labels = "gauge", labelsOf(data.DataPoints)
			case metricdata.Histogram[float64]:
				kind = "histogram"
				for _, p := range data.DataPoints {
					labels = namesOf(p.Attributes.ToSlice())
				}
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
			row, ok := listed[m.Name]
			if !ok {
				t.Errorf("%s does not list %s, a %s of %s: %s", metricsPage, m.Name, kind, m.Unit, m.Description)
				continue
			}
			unit := strings.Trim(m.Unit, "{}")
			if unit == "By" {
				unit = "bytes"
			}
			if want := []string{kind, unit, labels}; !slices.Equal(row[:3], want) {
				t.Errorf("%s says %q of %s, which is %q", metricsPage, row[:3], m.Name, want)
			}
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("%s lists %s, which does not exist", metricsPage, name)
		}
	}
}

// until consumes with a context that the handler ends.
func until(over error, consume func(context.Context, context.CancelCauseFunc) error) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	if err := consume(ctx, stop); !errors.Is(err, over) {
		return err
	}
	return nil
}

func labelsOf[N int64 | float64](points []metricdata.DataPoint[N]) string {
	var labels []attribute.KeyValue
	for _, p := range points {
		labels = append(labels, p.Attributes.ToSlice()...)
	}
	return namesOf(labels)
}

func namesOf(labels []attribute.KeyValue) string {
	var names []string
	for _, a := range labels {
		names = append(names, string(a.Key))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Promise: the page of metrics lists each event, by its type in Go and its name
// in the log, and none that does not exist.
func TestEventsListed(t *testing.T) {
	listed := rows(read(t, metricsPage)[0], "events")
	pkg, err := typesOf(t, token.NewFileSet()).Import(modulePath + "/messages")
	if err != nil {
		t.Fatal(err)
	}
	event := pkg.Scope().Lookup("Event").Type().Underlying().(*types.Interface)
	found := map[string]bool{}
	for _, name := range pkg.Scope().Names() {
		obj, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok || types.IsInterface(obj.Type()) || !types.Implements(obj.Type(), event) {
			continue
		}
		found[name] = true
		if row, ok := listed[name]; !ok {
			t.Errorf("%s does not list the event %s", metricsPage, name)
		} else if want := "`" + snake(name) + "`"; row[0] != want {
			t.Errorf("%s says that %s is %s in the log, which is %s", metricsPage, name, row[0], want)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("%s lists the event %s, which does not exist", metricsPage, name)
		}
	}
	if len(found) < 40 {
		t.Errorf("only %d events were found", len(found))
	}
}

func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

var code = regexp.MustCompile("`([^`]+)`")

// Promise: what a page calls by the name of an exported thing of the root
// package exists there, and each option and error of it is in some page.
func TestNamesExist(t *testing.T) {
	set := token.NewFileSet()
	from := typesOf(t, set)
	pkg, err := from.Import(modulePath)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	errorName := regexp.MustCompile(`(?:\b([a-z]+)\.)?\b(Err[A-Z][A-Za-z]+)\b`)
	folders := map[string]string{"supervisor": "/supervisor", "embedded": "/discovery/embedded"}
	qualified := regexp.MustCompile(`\bpenstock\.([A-Z][A-Za-z]+)\b`)
	of := regexp.MustCompile(`\b(Runtime|Destination|Member|Topic|Subscription|Delivery)\.([A-Z][A-Za-z]+)\b`)
	called := regexp.MustCompile(`(?:^|\s)([A-Z][A-Za-z]+)\(`)
	helpers, err := from.Import(modulePath + "/penstocktest")
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) bool {
		if pkg.Scope().Lookup(name) != nil || helpers.Scope().Lookup(name) != nil {
			return true
		}
		for _, on := range []string{"Runtime", "Destination", "Member", "Topic", "Subscription"} {
			if obj, _, _ := types.LookupFieldOrMethod(pkg.Scope().Lookup(on).Type(), true, pkg, name); obj != nil {
				return true
			}
		}
		return false
	}
	for _, p := range pages(t) {
		text.WriteString(p.text)
		for i, line := range p.prose {
			for _, c := range code.FindAllStringSubmatch(line, -1) {
				names := qualified.FindAllStringSubmatch(c[1], -1)
				for _, m := range names {
					if pkg.Scope().Lookup(m[1]) == nil {
						t.Errorf("%s:%d: the root package has no %s", p.path, i+1, m[1])
					}
				}
				for _, m := range errorName.FindAllStringSubmatch(c[1], -1) {
					in, err := from.Import(modulePath + folders[m[1]])
					if err != nil {
						t.Fatal(err)
					}
					if in.Scope().Lookup(m[2]) == nil {
						t.Errorf("%s:%d: package %s has no %s", p.path, i+1, in.Name(), m[2])
					}
				}
				for _, m := range called.FindAllStringSubmatch(c[1], -1) {
					if !known(m[1]) {
						t.Errorf("%s:%d: neither the root package nor one of its types has %s", p.path, i+1, m[1])
					}
				}
				for _, m := range of.FindAllStringSubmatch(c[1], -1) {
					obj, _, _ := types.LookupFieldOrMethod(pkg.Scope().Lookup(m[1]).Type(), true, pkg, m[2])
					if obj == nil {
						t.Errorf("%s:%d: a %s has no %s", p.path, i+1, m[1], m[2])
					}
				}
			}
		}
	}
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() || !mustBeTold(obj) {
			continue
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text.String()) {
			t.Errorf("no page speaks of %s", name)
		}
	}
}

// mustBeTold reports whether an exported name is an option or an error.
func mustBeTold(obj types.Object) bool {
	if strings.HasPrefix(obj.Name(), "Err") {
		return true
	}
	f, ok := obj.(*types.Func)
	if !ok {
		return false
	}
	results := f.Signature().Results()
	return results.Len() == 1 && strings.HasSuffix(results.At(0).Type().String(), "Option")
}

// Promise: the page of testing names each helper of penstocktest.
func TestHelpersListed(t *testing.T) {
	pkg, err := typesOf(t, token.NewFileSet()).Import(modulePath + "/penstocktest")
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, "docs/testing.md")[0].text
	for _, name := range pkg.Scope().Names() {
		if f, ok := pkg.Scope().Lookup(name).(*types.Func); ok && f.Exported() && !strings.Contains(text, name) {
			t.Errorf("docs/testing.md does not name %s", name)
		}
	}
}

// Promise: the page of metrics gives each event the level that its log line has.
func TestLevelsListed(t *testing.T) {
	transcript, err := os.ReadFile(filepath.Join(root, "messages", "testdata", "events.txt"))
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^level=(\S+) msg=(\S+)`).FindAllStringSubmatch(string(transcript), -1) {
		levels["`"+m[2]+"`"] = strings.ToLower(m[1])
	}
	for name, row := range rows(read(t, metricsPage)[0], "events") {
		if want := levels[row[0]]; want == "" || !strings.Contains(row[1], want) {
			t.Errorf("%s says that %s is logged as %s, which is %q", metricsPage, name, row[1], want)
		}
	}
}

// The pages that say which versions of etcd are tested name those of the modules
// that the tests build.
func TestEtcdVersionsListed(t *testing.T) {
	mods, err := filepath.Glob("../penstocktest/etcds/*.mod")
	if err != nil || len(mods) == 0 {
		t.Fatalf("no modules of etcd: %v", err)
	}
	server := regexp.MustCompile(`require go\.etcd\.io/etcd/server/v3 v(\S+)`)
	for _, mod := range mods {
		text, err := os.ReadFile(mod)
		if err != nil {
			t.Fatal(err)
		}
		found := server.FindSubmatch(text)
		if found == nil {
			t.Errorf("%s requires no server", mod)
			continue
		}
		for _, page := range []string{"../README.md", "deploying.md"} {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			if version := string(found[1]); !strings.Contains(string(text), version) {
				t.Errorf("%s does not say that etcd %s is tested, as %s has it", page, version, mod)
			}
		}
	}
}
