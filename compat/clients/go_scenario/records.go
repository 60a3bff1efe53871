package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var padding = strings.Repeat("x", 80)

func Key(number int) string   { return fmt.Sprintf("key-%d", number%Keys) }
func Value(number int) string { return fmt.Sprintf("value-%d-%s", number, padding) }

// Large is the value of a large message; none is like another.
func Large(number int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%07d.", number), LargeBytes/8))
}

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

// CheckValues is an error where the values are not those of the numbers 0 to count - 1, each once, in any order.
func CheckValues(values []string, count int, changed func(string) string) error {
	wanted := make([]string, count)
	for number := range wanted {
		wanted[number] = changed(Value(number))
	}
	slices.Sort(wanted)
	return Check(slices.Equal(slices.Sorted(slices.Values(values)), wanted), "%d records are there, or other ones than were sent", len(values))
}

// Unchanged is the value as it was sent.
func Unchanged(value string) string { return value }

// TransactionOutcomes is what becomes of each transaction of the topic `transactions`, in their order.
var TransactionOutcomes = []string{"committed", "aborted", "again"}

// TransactionValue is a value of the transaction of that outcome.
func TransactionValue(outcome string, number int) string {
	return fmt.Sprintf("%s-%d", outcome, number)
}

// CheckTransactions is an error where the values are not, in order, those of these outcomes.
func CheckTransactions(values []string, outcomes ...string) error {
	var wanted []string
	for _, outcome := range outcomes {
		for number := range TransactionRecords {
			wanted = append(wanted, TransactionValue(outcome, number))
		}
	}
	return Check(slices.Equal(values, wanted), "%d records are seen, not just those that are %v", len(values), outcomes)
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

// CheckPaused judges the offsets that one partition gave from 5 on, before and after it was paused.
func CheckPaused(offsets []int64) error {
	for index, offset := range offsets {
		if offset != int64(5+index) {
			return fmt.Errorf("the record at place %d after the seek to 5 is at offset %d", index, offset)
		}
	}
	return nil
}
