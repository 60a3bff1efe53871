package scenario

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Member is one consumer of a group, which takes records and commits them by itself until it is stopped; the client tells it what happens.
type Member struct {
	Stop func() error // when it returns, what it took is committed, and the client is closed

	mutex      sync.Mutex
	partitions map[int32]bool
	lost       []int32
	timesTold  int
	seen       map[[2]int64]bool
}

func NewMember() *Member { return &Member{partitions: map[int32]bool{}, seen: map[[2]int64]bool{}} }

// Assigned says that it has these partitions too.
func (m *Member) Assigned(partitions ...int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.timesTold++
	for _, partition := range partitions {
		m.partitions[partition] = true
	}
}

// Revoked says that it has these partitions no longer.
func (m *Member) Revoked(partitions ...int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.timesTold++
	m.lost = append(m.lost, partitions...)
	for _, partition := range partitions {
		delete(m.partitions, partition)
	}
}

// Took says that it took the record at this place.
func (m *Member) Took(partition int32, offset int64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.seen[[2]int64{int64(partition), offset}] = true
}

func (m *Member) has() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Sorted(maps.Keys(m.partitions))
}

func (m *Member) told() (times int, lost []int32) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.timesTold, slices.Clone(m.lost)
}

// seenBy is how many records the members took, each counted once.
func seenBy(members ...*Member) int {
	seen := map[[2]int64]bool{}
	for _, member := range members {
		member.mutex.Lock()
		maps.Copy(seen, member.seen)
		member.mutex.Unlock()
	}
	return len(seen)
}

// Join starts a member of a group; instance is its group.instance.id, or "".
type Join func(run Run, topic, group, instance string) (*Member, error)

// Committed is the sum of what a group has committed in all partitions of a topic.
type Committed func(run Run, topic, group string) (int64, error)

// Group is how a group shares a topic out among two members.
type Group struct {
	Topic           string // as in Run.Topic
	Name            string // as in Run.Topic
	Cooperative     bool   // the first member keeps what it does not lose
	Join            Join
	Committed       Committed
	WhileTheyAreTwo func(run Run, group string) error // what else must be true then; or nil
}

// OfTwo has a first member with all partitions, then a second one: both have half of them, all records are seen, and all is committed.
func (g Group) OfTwo(run Run) error {
	topic, group := run.Topic(g.Topic), run.Topic(g.Name)
	first, err := g.Join(run, topic, group, "")
	if err != nil {
		return err
	}
	members := []*Member{first}
	defer func() {
		for _, member := range members {
			_ = member.Stop()
		}
	}()
	if err := Until("the first member's records", func() bool { return seenBy(first) >= 1000 }); err != nil {
		return err
	}
	if count := len(first.has()); count != Partitions {
		return fmt.Errorf("alone it has %d partitions", count)
	}
	second, err := g.Join(run, topic, group, "")
	if err != nil {
		return err
	}
	members = append(members, second)
	err = Until("both members' records and shares", func() bool {
		return seenBy(first, second) == Records && len(first.has()) == Partitions/2 && len(second.has()) == Partitions/2
	})
	if err != nil {
		return fmt.Errorf("%w: %v and %v, %d records", err, first.has(), second.has(), seenBy(first, second))
	}
	_, lost := first.told()
	if wanted := map[bool]int{false: Partitions, true: Partitions / 2}[g.Cooperative]; len(lost) != wanted {
		return fmt.Errorf("the first member lost %v", lost)
	}
	if g.WhileTheyAreTwo != nil {
		if err := g.WhileTheyAreTwo(run, group); err != nil {
			return err
		}
	}
	members = nil
	if err := errors.Join(first.Stop(), second.Stop()); err != nil {
		return err
	}
	total, err := g.Committed(run, topic, group)
	return errors.Join(err, Check(total == Records, "%d was committed", total))
}

// RestartAStaticMember closes the second member and starts it anew: it has the same partitions again, and the first one is not disturbed.
func RestartAStaticMember(join Join) func(Run) error {
	return func(run Run) (err error) {
		topic, group := run.Topic("snappy"), run.Topic("static")
		var one, two *Member
		if one, err = join(run, topic, group, "one"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, one.Stop()) }()
		if two, err = join(run, topic, group, "two"); err != nil {
			return err
		}
		err = Until("two partitions each", func() bool { return len(one.has()) == Partitions/2 && len(two.has()) == Partitions/2 })
		before := two.has()
		times, _ := one.told()
		if err = errors.Join(err, two.Stop()); err != nil {
			return err
		}
		if two, err = join(run, topic, group, "two"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, two.Stop()) }()
		if err := Until("the member's partitions", func() bool { return len(two.has()) >= Partitions/2 }); err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // a rebalance that should not be would be seen by then
		if !slices.Equal(two.has(), before) {
			return fmt.Errorf("it had %v, and has %v", before, two.has())
		}
		now, _ := one.told()
		return Check(now == times, "the other member saw a rebalance")
	}
}
