// franz-go as a user would use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"pykbroker/scenario"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func main() {
	scenario.Main(scenario.Client{
		CreateTopics: createTopics, Produce: produce, GroupOfTwo: groupOfTwo, ConsumeUntil: consumeUntil, CountTheRest: countTheRest,
		ListAndDescribe: listAndDescribe, ResetOffsets: resetOffsets, OffsetsByTime: offsetsByTime, Delete: deleteAll,
	})
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scenario.Deadline)
}

func client(run scenario.Run, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(run.Bootstrap)}, options...)...)
}

func consumer(run scenario.Run, topic, group string, options ...kgo.Opt) (*kgo.Client, error) {
	return client(run, append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, options...)...)
}

// withAdmin does something with an admin client, which ends with it.
func withAdmin(run scenario.Run, work func(context.Context, *kadm.Client) error) error {
	raw, err := client(run)
	if err != nil {
		return err
	}
	defer raw.Close()
	ctx, cancel := limited()
	defer cancel()
	return work(ctx, kadm.NewClient(raw))
}

func createTopics(run scenario.Run) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		created, err := admin.CreateTopics(ctx, scenario.Partitions, 1, nil, run.Topics()...)
		if err = errors.Join(err, created.Error()); err != nil {
			return err
		}
		listed, err := admin.ListTopics(ctx, run.Topics()...)
		if err = errors.Join(err, listed.Error()); err != nil {
			return err
		}
		for _, topic := range run.Topics() {
			if count := len(listed[topic].Partitions); count != scenario.Partitions {
				return fmt.Errorf("%s is listed with %d partitions", topic, count)
			}
		}
		return nil
	})
}

func produce(run scenario.Run, compression string) error {
	topic := run.Topic(compression)
	producer, err := client(run, kgo.ProducerBatchCompression(codecs[compression]), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := limited()
	defer cancel()
	var failed atomic.Pointer[error]
	for number := range scenario.Records {
		headers := []kgo.RecordHeader{{Key: "number", Value: fmt.Append(nil, number)}, {Key: "empty"}}
		record := &kgo.Record{Topic: topic, Key: []byte(scenario.Key(number)), Value: []byte(scenario.Value(number)), Headers: headers}
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return readBack(ctx, run, topic)
}

func readBack(ctx context.Context, run scenario.Run, topic string) error {
	reader, err := client(run, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer reader.Close()
	judge := scenario.NewReadBack()
	for !judge.Done() {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return errors.Join(err, judge.Err())
		}
		for _, record := range fetches.Records() {
			if len(record.Headers) != 2 || record.Headers[1].Value != nil {
				return fmt.Errorf("the headers are %v", record.Headers)
			}
			judge.Add(record.Key, record.Value, record.Headers[0].Value)
		}
	}
	return judge.Err()
}

// member is one consumer of a group, in a goroutine of its own.
type member struct {
	client   *kgo.Client
	assigned atomic.Int32
	cancel   context.CancelFunc
	ended    chan error
}

func join(run scenario.Run, topic, group string, balancer kgo.GroupBalancer, positions *scenario.Positions) (*member, error) {
	m := &member{ended: make(chan error, 1)}
	given := func(sign int32) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.assigned.Add(sign * int32(len(partitions[topic])))
		}
	}
	made, err := consumer(run, topic, group, kgo.Balancers(balancer), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(given(1)), kgo.OnPartitionsRevoked(given(-1)), kgo.OnPartitionsLost(given(-1)))
	if err != nil {
		return nil, err
	}
	m.client = made
	ctx, cancel := limited()
	m.cancel = cancel
	go func() {
		defer made.CloseAllowingRebalance()
		for ctx.Err() == nil {
			fetches := made.PollRecords(ctx, 500)
			for _, record := range fetches.Records() {
				positions.Add(record.Partition, record.Offset)
			}
			if err := fetches.Err(); err != nil && !errors.Is(err, context.Canceled) {
				m.ended <- err
				return
			}
			if err := made.CommitUncommittedOffsets(context.Background()); err != nil {
				m.ended <- err
				return
			}
			made.AllowRebalance()
		}
		m.ended <- nil
	}()
	return m, nil
}

func groupOfTwo(run scenario.Run) error {
	for _, balancer := range []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()} {
		if err := shared(run, run.Topic("gzip"), run.Topic("two-"+balancer.ProtocolName()), balancer); err != nil {
			return fmt.Errorf("%s: %w", balancer.ProtocolName(), err)
		}
	}
	return nil
}

func shared(run scenario.Run, topic, group string, balancer kgo.GroupBalancer) error {
	positions := scenario.NewPositions()
	first, err := join(run, topic, group, balancer, positions)
	if err != nil {
		return err
	}
	if err := scenario.Until("the first member's records", func() bool { return positions.Count() >= 1000 }); err != nil {
		return err
	}
	if err := scenario.Check(first.assigned.Load() == scenario.Partitions, "alone it has %d partitions", first.assigned.Load()); err != nil {
		return err
	}
	second, err := join(run, topic, group, balancer, positions)
	if err != nil {
		return err
	}
	err = scenario.Until("both members' records and shares", func() bool {
		return positions.Count() == scenario.Records && first.assigned.Load() == 2 && second.assigned.Load() == 2
	})
	first.cancel()
	second.cancel()
	if err = errors.Join(err, <-first.ended, <-second.ended); err != nil {
		return err
	}
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		offsets, err := admin.FetchOffsets(ctx, group)
		total := int64(0)
		offsets.Each(func(one kadm.OffsetResponse) { total += one.At })
		return errors.Join(err, scenario.Check(total == scenario.Records, "%d was committed", total))
	})
}

func consumeUntil(run scenario.Run, topic, group string, ready func(int)) error {
	ctx := context.Background()
	reader, err := consumer(run, topic, group)
	if err != nil {
		return err
	}
	for count := 0; count < scenario.KilledAfter; {
		fetches := reader.PollRecords(ctx, min(500, scenario.KilledAfter-count))
		if err := fetches.Err(); err != nil {
			return err
		}
		count += fetches.NumRecords()
	}
	if err := reader.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	ready(scenario.KilledAfter)
	for {
		reader.PollFetches(ctx)
	}
}

func countTheRest(run scenario.Run, topic, group string, wanted int) (int, error) {
	ctx, cancel := limited()
	defer cancel()
	reader, err := consumer(run, topic, group)
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	count := 0
	for count < wanted {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return count, err
		}
		count += fetches.NumRecords()
	}
	return count, reader.CommitUncommittedOffsets(ctx)
}

func listAndDescribe(run scenario.Run) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		group := run.Topic("two-range")
		listed, err := admin.ListGroups(ctx)
		if err != nil {
			return err
		}
		if _, found := listed[group]; !found {
			return errors.New("the group is not listed")
		}
		described, err := admin.DescribeGroups(ctx, group)
		if err = errors.Join(err, described.Error()); err != nil {
			return err
		}
		return scenario.Check(described[group].State == "Empty", "the group is %s", described[group].State)
	})
}

func resetOffsets(run scenario.Run) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		topic, group := run.Topic("gzip"), run.Topic("two-range")
		wanted := kadm.Offsets{}
		for number := range int32(scenario.Partitions) {
			wanted.Add(kadm.Offset{Topic: topic, Partition: number, At: 7, LeaderEpoch: -1, Metadata: "reset"})
		}
		if err := admin.CommitAllOffsets(ctx, group, wanted); err != nil {
			return err
		}
		found, err := admin.FetchOffsets(ctx, group)
		if err = errors.Join(err, found.Error()); err != nil {
			return err
		}
		for number := range int32(scenario.Partitions) {
			if one, there := found.Lookup(topic, number); !there || one.At != 7 || one.Metadata != "reset" {
				return fmt.Errorf("%v after the reset", one)
			}
		}
		return nil
	})
}

func offsetsByTime(run scenario.Run) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		topic := run.Topic("none")
		total := int64(0)
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err = errors.Join(err, ends.Error()); err != nil {
			return err
		}
		beginning, err := admin.ListOffsetsAfterMilli(ctx, 0, topic)
		if err = errors.Join(err, beginning.Error()); err != nil {
			return err
		}
		future, err := admin.ListOffsetsAfterMilli(ctx, time.Now().Add(time.Hour).UnixMilli(), topic)
		if err = errors.Join(err, future.Error()); err != nil {
			return err
		}
		for number := range int32(scenario.Partitions) {
			end, _ := ends.Lookup(topic, number)
			total += end.Offset
			if one, there := beginning.Lookup(topic, number); !there || one.Offset != 0 {
				return fmt.Errorf("time 0 is %v, not the beginning", one)
			}
			if one, there := future.Lookup(topic, number); !there || one.Offset != end.Offset {
				return fmt.Errorf("the future is %v, not the end", one)
			}
		}
		return scenario.Check(total == scenario.Records, "the ends add up to %d", total)
	})
}

func deleteAll(run scenario.Run) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		groups, err := admin.DeleteGroups(ctx, run.Topic("two-range"))
		if err = errors.Join(err, groups.Error()); err != nil {
			return err
		}
		deleted, err := admin.DeleteTopics(ctx, run.Topics()...)
		if err = errors.Join(err, deleted.Error()); err != nil {
			return err
		}
		return scenario.Until("the topics' end", func() bool {
			listed, err := admin.ListTopics(ctx)
			if err != nil {
				return false
			}
			for _, topic := range run.Topics() {
				if listed.Has(topic) {
					return false
				}
			}
			return true
		})
	})
}
