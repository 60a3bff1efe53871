// Package scenario is what every Go client does, as a list of named scenarios: the same list, and the same lines on stdout, as scenario.py.
package scenario

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	Records     = 10_000
	Keys        = 100
	Partitions  = 4
	KilledAfter = 3_000
	Deadline    = 60 * time.Second
)

// Compressions are those that each client produces with, in this order.
var Compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

var padding = strings.Repeat("x", 80)

// Run is one run of a client: where the broker is, and names that nobody else uses.
type Run struct {
	Bootstrap string
	suffix    string
}

func (r Run) Topic(name string) string { return name + "-" + r.suffix }

// Topics are the names of all topics of this run.
func (r Run) Topics() []string {
	var names []string
	for _, compression := range Compressions {
		names = append(names, r.Topic(compression))
	}
	return names
}

// Client is one client library: a function a scenario, nil error where it passed.
type Client struct {
	CreateTopics    func(Run) error
	Produce         func(run Run, compression string) error
	GroupOfTwo      func(Run) error
	ConsumeUntil    func(run Run, topic, group string, ready func(count int)) error // commits at KilledAfter, says so, goes on for ever
	CountTheRest    func(run Run, topic, group string, wanted int) (int, error)
	ListAndDescribe func(Run) error
	ResetOffsets    func(Run) error
	OffsetsByTime   func(Run) error
	Delete          func(Run) error
}

// Skipped says why a client cannot do a scenario.
type Skipped string

func (s Skipped) Error() string { return string(s) }

type row struct {
	Scenario string  `json:"scenario"`
	Status   string  `json:"status"`
	Seconds  float64 `json:"seconds"`
	Detail   string  `json:"detail"`
}

// Main does every scenario in order; the exit code is 1 if one failed.
func Main(client Client) {
	if len(os.Args) < 3 || os.Args[1] != "--bootstrap" {
		fmt.Fprintln(os.Stderr, "usage: --bootstrap HOST:PORT")
		os.Exit(2)
	}
	if len(os.Args) > 4 {
		victim(client, os.Args[2], os.Args[3], os.Args[4])
		return
	}
	run := Run{os.Args[2], strings.ToLower(rand.Text()[:8])}
	failed := false
	do := func(name string, work func(Run) error) {
		started := time.Now()
		err := safely(func() error { return work(run) })
		line := row{Scenario: name, Status: "passed", Seconds: float64(time.Since(started).Milliseconds()) / 1000}
		var skipped Skipped
		switch {
		case errors.As(err, &skipped):
			line.Status, line.Detail = "skipped", skipped.Error()
		case err != nil:
			line.Status, line.Detail = "failed", err.Error()
			failed = true
		}
		// The spaces of Python's json.dumps: the runner looks for lines that begin so.
		rest, _ := json.Marshal(line)
		fmt.Println(strings.Replace(string(rest), `{"scenario":`, `{"scenario": `, 1))
	}
	do("create topic", client.CreateTopics)
	for _, compression := range Compressions {
		do("produce "+compression, func(run Run) error { return client.Produce(run, compression) })
	}
	do("consume in a group of two with a rebalance", client.GroupOfTwo)
	do("commit, be killed, resume", func(run Run) error { return killed(client, run) })
	do("list and describe groups", client.ListAndDescribe)
	do("reset offsets", client.ResetOffsets)
	do("offsets by time", client.OffsetsByTime)
	do("delete", client.Delete)
	if failed {
		os.Exit(1)
	}
}

func safely(work func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return work()
}

func victim(client Client, bootstrap, topic, group string) {
	err := client.ConsumeUntil(Run{Bootstrap: bootstrap}, topic, group, func(count int) { fmt.Println(count) })
	fmt.Fprintln(os.Stderr, "ended:", err)
	os.Exit(1)
}

func killed(client Client, run Run) error {
	topic, group := run.Topic("lz4"), run.Topic("killed")
	command := exec.Command(os.Args[0], "--bootstrap", run.Bootstrap, topic, group)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(Deadline, func() { _ = command.Process.Kill() })
	line, _ := bufio.NewReader(output).ReadString('\n')
	timer.Stop()
	_ = command.Process.Kill()
	_ = command.Wait()
	before, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("the first consumer did not get that far: %q", line)
	}
	count, err := client.CountTheRest(run, topic, group, Records-before)
	if err != nil {
		return err
	}
	return Check(count == Records-before, "%d records came after the resume instead of %d", count, Records-before)
}

func Key(number int) string   { return fmt.Sprintf("key-%d", number%Keys) }
func Value(number int) string { return fmt.Sprintf("value-%d-%s", number, padding) }

// Check is an error with this message where the condition does not hold.
func Check(condition bool, message string, values ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(message, values...)
}

// Until waits for the condition; not for longer than the deadline.
func Until(what string, condition func() bool) error {
	for end := time.Now().Add(Deadline); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v", what, Deadline)
		}
	}
	return nil
}

// ReadBack judges the records of one topic as they come: each exactly once, unchanged, in the order of its key.
type ReadBack struct {
	mutex sync.Mutex
	last  map[string]int
	seen  map[int]bool
	err   error
}

func NewReadBack() *ReadBack { return &ReadBack{last: map[string]int{}, seen: map[int]bool{}} }

// Add judges one record by its parts; number is the header of that name.
func (r *ReadBack) Add(key, value, number []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	at, err := strconv.Atoi(string(number))
	before, known := r.last[string(key)]
	switch {
	case r.err != nil:
		return
	case err != nil:
		r.err = err
	case string(value) != Value(at) || string(key) != Key(at):
		r.err = fmt.Errorf("record %d is not what was sent", at)
	case r.seen[at]:
		r.err = fmt.Errorf("record %d came twice", at)
	case known && before >= at:
		r.err = fmt.Errorf("record %d is out of order", at)
	}
	r.last[string(key)], r.seen[at] = at, true
}

// Done says whether all are there, or something is wrong.
func (r *ReadBack) Done() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.err != nil || len(r.seen) == Records
}

func (r *ReadBack) Err() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.err != nil {
		return r.err
	}
	return Check(len(r.seen) == Records, "%d records came back", len(r.seen))
}

// Positions are the places (partition, offset) that the members of a group have read, each counted once.
type Positions struct {
	mutex sync.Mutex
	seen  map[[2]int64]bool
}

func NewPositions() *Positions { return &Positions{seen: map[[2]int64]bool{}} }

func (p *Positions) Add(partition int32, offset int64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.seen[[2]int64{int64(partition), offset}] = true
}

func (p *Positions) Count() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(p.seen)
}
