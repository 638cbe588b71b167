package doctor

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages"
)

func TestJudgements(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, c := range map[string]struct {
		got  check
		want verdict
		says string
	}{
		"version":           {judgeVersion("e", "3.7.1"), verdictOK, "3.7.1"},
		"newer":             {judgeVersion("e", "3.8.0-alpha.0"), verdictWarn, "3.5, 3.6 and 3.7"},
		"next":              {judgeVersion("e", "4.7.3"), verdictWarn, "not tried"},
		"older":             {judgeVersion("e", "3.4.40"), verdictWarn, "not tried"},
		"leaks in 3.5":      {judgeVersion("e", "3.5.21"), verdictWarn, "upgrade to 3.5.33"},
		"leaks in 3.6":      {judgeVersion("e", "3.6.13"), verdictWarn, "upgrade to 3.6.14"},
		"leaks in 3.7":      {judgeVersion("e", "3.7.0"), verdictWarn, "upgrade to 3.7.1"},
		"first of 3.5":      {judgeVersion("e", "3.5.33"), verdictOK, "3.5.33"},
		"no version":        {judgeVersion("e", "new"), verdictWarn, "not understood"},
		"leader":            {judgeLeader("e", 1, false), verdictOK, ""},
		"no leader":         {judgeLeader("e", 0, false), verdictFail, "majority"},
		"learner":           {judgeLeader("e", 1, true), verdictWarn, "learner"},
		"space":             {judgeSpace("e", 79, 10, 100), verdictOK, ""},
		"little space":      {judgeSpace("e", 80, 10, 100), verdictWarn, "compact"},
		"no space":          {judgeSpace("e", 95, 10, 100), verdictFail, "compact"},
		"default quota":     {judgeSpace("e", 1<<30, 0, 0), verdictOK, "2048"},
		"alarms":            {judgeAlarms("e", nil), verdictOK, "none"},
		"full":              {judgeAlarms("e", []string{"memberID:1 alarm:NOSPACE "}), verdictFail, "disarm"},
		"corrupt":           {judgeAlarms("e", []string{"alarm:CORRUPT"}), verdictFail, "restore"},
		"slow":              {judgeAnswer("e", 3*time.Second), verdictWarn, "network"},
		"clock":             {judgeClock("e", 1900*time.Millisecond, nil), verdictOK, ""},
		"clock ahead":       {judgeClock("e", time.Hour, nil), verdictWarn, "1h0m0s ahead"},
		"clock behind":      {judgeClock("e", -time.Hour, nil), verdictWarn, "1h0m0s behind"},
		"clock unknown":     {judgeClock("e", 0, errors.New("no date")), verdictWarn, "no date"},
		"rights":            {judgeRights("/p", "", nil, time.Millisecond), verdictOK, ""},
		"no rights":         {judgeRights("/p", "put", penstock.ErrDenied, 0), verdictFail, "readwrite --prefix=true /p/"},
		"failed probe":      {judgeRights("/p", "put", errors.New("x"), 0), verdictFail, "put: x"},
		"slow disk":         {judgeRights("/p", "", nil, time.Minute), verdictWarn, "slow"},
		"secrets":           {judgeSecrets("/p/secret/", nil), verdictOK, ""},
		"no secrets":        {judgeSecrets("/p/secret/", penstock.ErrDenied), verdictWarn, "not connect"},
		"socket":            {judgeSocket("s", "tcp://a:1", nil), verdictOK, "answers"},
		"dead socket":       {judgeSocket("s", "tcp://a:1", errors.New("refused")), verdictFail, "lease"},
		"unknown name":      {judgeSocket("s", "tcp://a:1", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "a"}}), verdictFail, "look up"},
		"stranger":          {judgeSocket("s", "tcp://a:1", errNotSender), verdictFail, "something else"},
		"wants ours":        {judgeSocket("s", "tls+tcp://a:1", errWantsCertificate), verdictWarn, "--link-cert"},
		"in its process":    {judgeSocket("s", "inproc://a", errOneProcess), verdictOK, "only its own process"},
		"another machine":   {judgeSocket("s", "ipc:///run/a.sock", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENOENT)}), verdictWarn, "sender's machine"},
		"stale file":        {judgeSocket("s", "ipc:///run/a.sock", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), verdictFail, "remove the file"},
		"another's file":    {judgeSocket("s", "ipc:///run/a.sock", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}), verdictFail, "mode=0660"},
		"other transport":   {judgeSocket("s", "quic://a", messages.ErrInvalid), verdictWarn, "not checked"},
		"a proxy's name":    {judgeSocket("s", "wss://a:443/?via=proxy", &tls.CertificateVerificationError{Err: errors.New("for b")}), verdictFail, "for that name"},
		"denied":            {judgeUnreached("etcd", nil, penstock.ErrDenied), verdictFail, "password"},
		"loopback":          {judgeTransport([]string{"127.0.0.1:2379", "http://localhost:1", "unix:///x"}, false), verdictOK, ""},
		"open network":      {judgeTransport([]string{"127.0.0.1:2379", "http://10.0.0.1:2379"}, false), verdictWarn, "10.0.0.1"},
		"open network name": {judgeTransport([]string{"etcd:2379"}, false), verdictWarn, "etcd"},
		"tls":               {judgeTransport([]string{"etcd:2379"}, true), verdictOK, "TLS"},
		"listing":           {judgeListing("/p/", penstock.ErrDenied), verdictFail, "grant"},
		"registry":          {judgeRegistry(&inventory.Inventory{}, now), verdictOK, "0 destinations"},
		"unreadable":        {judgeRegistry(&inventory.Inventory{Unreadable: []string{"/k"}}, now), verdictWarn, "/k"},
		"from the future": {judgeRegistry(&inventory.Inventory{Destinations: []*inventory.Destination{{
			Name: "orders", Senders: []inventory.Sender{{ID: "a", Host: "far", Since: now.Add(time.Minute)}},
		}}}, now), verdictWarn, "orders/a on far registered 1m0s from now"},
	} {
		if c.got.Status != c.want || !strings.Contains(c.got.Found+" "+c.got.Do, c.says) {
			t.Errorf("%s: %+v, want %s with %q", name, c.got, c.want, c.says)
		}
		if c.got.Status == verdictFail && c.got.Do == "" && name != "secrets" {
			t.Errorf("%s fails and says nothing to do", name)
		}
	}
}

func TestJudgeTopics(t *testing.T) {
	some := &inventory.Inventory{Topics: []inventory.Topic{{Partitions: 3}, {Partitions: 4}}}
	for name, c := range map[string]struct {
		got  check
		want verdict
		says string
	}{
		"well":       {judgeTopics("/p", some, 0, nil), verdictOK, "2 topics, 7 partitions"},
		"denied":     {judgeTopics("/p", some, 0, penstock.ErrDenied), verdictWarn, "--prefix=true /p/"},
		"failed":     {judgeTopics("/p", some, 0, penstock.ErrUnavailable), verdictFail, "unavailable"},
		"unreadable": {judgeTopics("/p", &inventory.Inventory{Unreadable: []string{"/p/topics/x"}}, 0, nil), verdictFail, "/p/topics/x"},
		"half done":  {judgeTopics("/p", some, 2, nil), verdictWarn, "2 more"},
	} {
		if c.got.Status != c.want || !strings.Contains(c.got.Found+" "+c.got.Do, c.says) {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
}

// Each line that is called supported is tested, and what is tested is supported.
func TestSupportedVersionsAreTested(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "penstocktest", "etcds")
	mods, err := filepath.Glob(filepath.Join(dir, "*.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if len(mods) != len(supported) {
		t.Errorf("%d lines are supported, %d are tested", len(supported), len(mods))
	}
	server := regexp.MustCompile(`require go\.etcd\.io/etcd/server/v3 v(\S+)`)
	for _, mod := range mods {
		text, err := os.ReadFile(mod)
		if err != nil {
			t.Fatal(err)
		}
		found := server.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s requires no server", mod)
		}
		if c := judgeVersion("e", string(found[1])); c.Status != verdictOK {
			t.Errorf("%s: %+v", mod, c)
		}
	}
}
