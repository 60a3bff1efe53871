// Package scenario is what every Go client does, as a list of named scenarios: the same list, and the same lines on stdout, as scenario.py.
package scenario

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	Records     = 10_000
	Keys        = 100
	Partitions  = 4
	KilledAfter = 3_000
	Wide        = 1_000
	Shared      = 1_000
	Deadline    = 60 * time.Second

	LargeBytes      = 5 * 1024 * 1024
	LargeLimitBytes = 6 * 1024 * 1024

	TransactionRecords = 100

	RestartRecords   = 5_000
	RestartAfter     = 1_000
	RestartCommitted = 500
)

// Compressions are those that each client produces with, in this order.
var Compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Names is the list that all clients share, in the order in which the scenarios are done.
var Names = []string{
	"create topic",
	"administer a topic",
	"produce none",
	"produce gzip",
	"produce snappy",
	"produce lz4",
	"produce zstd",
	"idempotent producer",
	"messages of 5 MiB",
	"1,000 partitions",
	"consume in a group of two with a rebalance",
	"consume in a group of two, cooperatively",
	"restart a static member",
	"commit, be killed, resume",
	"seek, pause, resume",
	"list and describe groups",
	"reset offsets",
	"offsets by time",
	"transactions",
	"consume, transform, produce",
	"consumer group of the new protocol",
	"share group",
	"restart the broker",
	"sign in",
	"delete",
}

// Client is one client library. What it cannot do is there too, and says why: see Skip.
type Client struct {
	Scenarios    map[string]func(Run) error // each of Names but for those of the two fields below
	Produce      func(run Run, compression string) error
	ConsumeUntil func(run Run, topic, group string, ready func(count int)) error // commits at KilledAfter, says so, goes on for ever
	CountTheRest func(run Run, topic, group string, wanted int) (int, error)
}

// Skipped says why a client cannot do a scenario.
type Skipped string

func (s Skipped) Error() string { return string(s) }

// Skip is a scenario that a client cannot do, for this reason.
func Skip(reason string) func(Run) error {
	return func(Run) error { return Skipped(reason) }
}

type row struct {
	Scenario string  `json:"scenario"`
	Status   string  `json:"status"`
	Seconds  float64 `json:"seconds"`
	Detail   string  `json:"detail"`
}

// Main does every scenario in order; the exit code is 1 if one failed.
func Main(client Client) {
	bootstrap := flag.String("bootstrap", "", "where the broker is, HOST:PORT")
	chosen := flag.String("scenarios", "", "only those that have one of these words in their name, and `create topic`; comma separated")
	flag.Parse()
	if *bootstrap == "" {
		flag.Usage()
		os.Exit(2)
	}
	if flag.NArg() == 2 {
		victim(client, *bootstrap, flag.Arg(0), flag.Arg(1))
		return
	}
	words := []string{""}
	if *chosen != "" {
		words = append(strings.Split(*chosen, ","), "create topic")
	}
	run := Run{*bootstrap, strings.ToLower(rand.Text()[:8])}
	works, missing, failed := client.works(), notServed(), false
	for _, name := range Names {
		if !hasOneOf(name, words) {
			continue
		}
		line := do(run, name, works[name], missing)
		failed = failed || line.Status == "failed"
		// The spaces of Python's json.dumps: the runner looks for lines that begin so.
		text, _ := json.Marshal(line)
		fmt.Println(strings.Replace(string(text), `{"scenario":`, `{"scenario": `, 1))
	}
	if failed {
		os.Exit(1)
	}
}

// works is every scenario under its name.
func (client Client) works() map[string]func(Run) error {
	works := map[string]func(Run) error{"commit, be killed, resume": func(run Run) error { return killed(client, run) }}
	for _, compression := range Compressions {
		works["produce "+compression] = func(run Run) error { return client.Produce(run, compression) }
	}
	for name, work := range client.Scenarios {
		works[name] = work
	}
	return works
}

// notServed is under each scenario that the broker does not serve what is missing, as the environment says it.
func notServed() map[string]string {
	missing := map[string]string{}
	for line := range strings.SplitSeq(os.Getenv("COMPAT_NOT_SERVED"), "\n") {
		if name, what, found := strings.Cut(line, ": "); found {
			missing[name] = what
		}
	}
	return missing
}

func hasOneOf(name string, words []string) bool {
	for _, word := range words {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

func do(run Run, name string, work func(Run) error, missing map[string]string) row {
	started := time.Now()
	line := row{Scenario: name, Status: "passed"}
	var err error
	switch {
	case missing[name] != "":
		line.Status, line.Detail = "not served", missing[name]
	case work == nil:
		err = errors.New("the program has no such scenario")
	default:
		err = safely(func() error { return work(run) })
	}
	var skipped Skipped
	if errors.As(err, &skipped) {
		line.Status, line.Detail = "skipped", skipped.Error()
	} else if err != nil {
		line.Status, line.Detail = "failed", err.Error()
	}
	line.Seconds = float64(time.Since(started).Milliseconds()) / 1000
	return line
}

func safely(work func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return work()
}
