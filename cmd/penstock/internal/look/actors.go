package look

// The actors of a running process, as its diagnostics listener lists them.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// askTimeout bounds one question to a diagnostics listener.
const askTimeout = 10 * time.Second

type actorsList struct {
	*cli.App
	json bool
}

// Actors returns the command actors.
func Actors(a *cli.App) *cobra.Command {
	c := actorsList{App: a}
	cmd := &cobra.Command{
		Use:   "actors ADDR",
		Short: "Show the actors of a running process",
		Long: `Actors asks a process that was started with a diagnostics listener, by
--diagnostics or the option penstock.Diagnostics, for its tree of actors: what
each is doing, how often it was restarted and why, how many messages wait for
it, and what it reports of itself. ADDR is host:port or unix:///path.

MAILBOX is how long a message waited that was put behind the others for this.
PROCESSING is the mean time for one message, of the first 64 after this look or
the one before: call it twice to see that of an actor without a queue. An actor
that does not reply within a second is shown as silent: it is stuck.

The same listener answers GET /stats with the counters of pipes, members, topics
and subscriptions.`,
		Example: `  penstock recv orders billing --diagnostics 127.0.0.1:7070 &
  penstock actors 127.0.0.1:7070
  penstock actors unix:///run/billing.sock --json`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *actorsList) run(ctx context.Context, addr string) error {
	body, err := askDiagnostics(ctx, addr, "/actors")
	if err != nil {
		return err
	}
	var answer struct {
		Actors []ActorInfo `json:"actors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s does not answer as a diagnostics listener: %w", addr, err)
	}
	if c.json {
		return cli.PrintJSON(c.Out, answer)
	}
	return printTree(c.Out, answer.Actors)
}

// ActorInfo is one actor, in the words of the diagnostics listener.
type ActorInfo struct {
	ID        string    `json:"id"`
	Parent    string    `json:"parent,omitempty"`
	Type      string    `json:"type"`
	State     string    `json:"state"`
	Restarts  int       `json:"restarts"`
	Queue     int       `json:"queue"`
	Since     time.Time `json:"since"`
	LastError string    `json:"last_error,omitempty"`
	// In milliseconds, which may be fractions: how long a message waited behind the
	// others, how long messages took in the mean and at most, of Sampled ones, and how
	// long the actor has not replied.
	Mailbox    float64     `json:"mailbox_ms"`
	Processing float64     `json:"processing_ms,omitempty"`
	Longest    float64     `json:"longest_ms,omitempty"`
	Sampled    int         `json:"sampled"`
	Silent     float64     `json:"silent_ms,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"`
}

// Attribute is a fact that an actor reported of itself.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// attributes are an actor's attributes in one cell, or that it does not reply.
func (a ActorInfo) attributes() string {
	if a.Silent > 0 {
		return "silent for " + took(a.Silent)
	}
	var cells []string
	for _, at := range a.Attributes {
		value := cli.Clean(at.Value)
		if strings.ContainsAny(value, " =") {
			value = `"` + value + `"`
		}
		cells = append(cells, cli.Clean(at.Name)+"="+value)
	}
	if len(cells) == 0 {
		return "-"
	}
	return strings.Join(cells, " ")
}

// processing is the mean time for a message in one cell.
func (a ActorInfo) processing() string {
	if a.Sampled == 0 {
		return "-"
	}
	return took(a.Processing)
}

// took writes milliseconds as a duration, with as much of it as a person wants.
func took(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// printTree writes each actor below its parent; one whose parent is not in the
// list stands at the top.
func printTree(w io.Writer, all []ActorInfo) error {
	known := make(map[string]bool, len(all))
	for _, a := range all {
		known[a.ID] = true
	}
	below := make(map[string][]ActorInfo)
	for _, a := range all {
		parent := a.Parent
		if !known[parent] {
			parent = ""
		}
		below[parent] = append(below[parent], a)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ACTOR\tSTATE\tRESTARTS\tQUEUE\tMAILBOX\tPROCESSING\tSINCE\tATTRIBUTES\tLAST ERROR")
	var branch func(parent string, depth int)
	branch = func(parent string, depth int) {
		children := below[parent]
		slices.SortFunc(children, func(a, b ActorInfo) int { return strings.Compare(a.ID, b.ID) })
		for _, a := range children {
			name := strings.TrimPrefix(a.ID, parent+"/")
			lastError := cli.Clean(a.LastError)
			if lastError == "" {
				lastError = "-"
			}
			fmt.Fprintf(tw, "%s%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", strings.Repeat("  ", depth), cli.Clean(name), cli.Clean(a.State),
				a.Restarts, a.Queue, took(a.Mailbox), a.processing(), cli.When(a.Since.UnixMilli()), a.attributes(), lastError)
			branch(a.ID, depth+1)
		}
	}
	branch("", 0)
	return tw.Flush()
}

// askDiagnostics gets one page.
func askDiagnostics(ctx context.Context, addr, path string) ([]byte, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	url := "http://" + addr + path
	if sock, ok := strings.CutPrefix(addr, "unix://"); ok {
		url = "http://localhost" + path
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", sock)
		}
	} else if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, cli.Usagef("address %q: want host:port or unix:///path", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the process at %s, which must run with --diagnostics %s: %w", addr, addr, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("ask the process at %s: %w", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the process at %s: it answers %s", addr, resp.Status)
	}
	return body, nil
}
