package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSettle(t *testing.T) {
	environment := map[string]string{
		"ETCDCTL_ENDPOINTS": "ctl:1,ctl:2", "ETCDCTL_USER": "ctl:pass:word", "ETCDCTL_CACERT": "ctl.pem", "PENSTOCK_PREFIX": "/env",
	}
	for name, c := range map[string]struct {
		flags EtcdFlags
		env   map[string]string
		want  EtcdSettings
	}{
		"nothing": {want: EtcdSettings{Endpoints: []string{"127.0.0.1:2379"}, Prefix: "/penstock"}},
		"etcdctl": {env: environment, want: EtcdSettings{
			Endpoints: []string{"ctl:1", "ctl:2"}, cacert: "ctl.pem", User: "ctl", password: "pass:word", Prefix: "/env",
		}},
		"ours before etcdctl's": {
			env:  map[string]string{"PENSTOCK_ETCD": "ours:1", "ETCDCTL_ENDPOINTS": "ctl:1"},
			want: EtcdSettings{Endpoints: []string{"ours:1"}, Prefix: "/penstock"},
		},
		"flags before all": {
			env:   environment,
			flags: EtcdFlags{Endpoints: "flag:1, flag:2,", cacert: "flag.pem", cert: "c", key: "k", user: "flag:x", Prefix: "/flag"},
			want: EtcdSettings{
				Endpoints: []string{"flag:1", "flag:2"}, cacert: "flag.pem", cert: "c", key: "k",
				User: "flag", password: "x", Prefix: "/flag",
			},
		},
		"password apart": {
			flags: EtcdFlags{user: "flag"}, env: map[string]string{"ETCDCTL_PASSWORD": "word"},
			want: EtcdSettings{Endpoints: []string{"127.0.0.1:2379"}, User: "flag", password: "word", Prefix: "/penstock"},
		},
		"password without user": {
			env:  map[string]string{"ETCDCTL_PASSWORD": "word"},
			want: EtcdSettings{Endpoints: []string{"127.0.0.1:2379"}, Prefix: "/penstock"},
		},
	} {
		c.flags.Timeout, c.want.Timeout = time.Second, time.Second
		got, err := c.flags.settle(func(k string) string { return c.env[k] })
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestSettleFaults(t *testing.T) {
	for name, f := range map[string]EtcdFlags{
		"comma":    {Endpoints: ","},
		"address":  {Endpoints: "127.0.0.1:2379,nonsense::"},
		"user":     {Endpoints: "http://root:hunter2@127.0.0.1:2379"},
		"cert":     {cert: "c"},
		"key":      {key: "k"},
		"password": {user: ":hunter2"},
		"timeout":  {Timeout: -1},
	} {
		if f.Timeout == 0 {
			f.Timeout = time.Second
		}
		_, err := f.settle(func(string) string { return "" })
		if CodeOf(err) != ExitUsage || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigReadsFiles(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	never := func(string) (string, error) { t.Error("asked for a password"); return "", nil }
	for _, s := range []EtcdSettings{{cacert: junk}, {cacert: junk + ".not"}, {cert: junk, key: junk}} {
		if _, err := s.config(never); CodeOf(err) != ExitUsage {
			t.Errorf("%+v: %v", s, err)
		}
	}
	cfg, err := EtcdSettings{Endpoints: []string{"https://etcd:2379"}}.config(never)
	if err != nil || cfg.TLS == nil {
		t.Errorf("https: %v, %v", cfg.TLS, err)
	}
	cfg, err = EtcdSettings{Endpoints: []string{"etcd:2379"}, User: "u"}.config(func(user string) (string, error) { return user + "-word", nil })
	if err != nil || cfg.TLS != nil || cfg.Password != "u-word" {
		t.Errorf("password asked for: %+v, %v", cfg, err)
	}
}
