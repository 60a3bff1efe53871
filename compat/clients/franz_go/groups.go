package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker/scenario"
)

// joinBy is how members join that share out as these options say.
func joinBy(options ...kgo.Opt) scenario.Join {
	return func(run scenario.Run, topic, group, instance string) (*scenario.Member, error) {
		member := scenario.NewMember()
		told := func(what func(...int32)) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { what(partitions[topic]...) }
		}
		all := append([]kgo.Opt{
			kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(told(member.Assigned)),
			kgo.OnPartitionsRevoked(told(member.Revoked)), kgo.OnPartitionsLost(told(member.Revoked)),
		}, options...)
		if instance != "" {
			all = append(all, kgo.InstanceID(instance), kgo.SessionTimeout(30*time.Second))
		}
		reader, err := consumer(run, topic, group, all...)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			defer reader.CloseAllowingRebalance()
			ended <- takeAndCommit(ctx, reader, member)
		}()
		member.Stop = func() error {
			cancel()
			return <-ended
		}
		return member, nil
	}
}

func takeAndCommit(ctx context.Context, reader *kgo.Client, member *scenario.Member) error {
	for ctx.Err() == nil {
		fetches := reader.PollRecords(ctx, 500)
		for _, record := range fetches.Records() {
			member.Took(record.Partition, record.Offset)
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if err := reader.CommitUncommittedOffsets(context.Background()); err != nil {
			return err
		}
		reader.AllowRebalance()
	}
	return nil
}

func committed(run scenario.Run, _, group string) (int64, error) {
	total := int64(0)
	return total, withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		offsets, err := admin.FetchOffsets(ctx, group)
		offsets.Each(func(one kadm.OffsetResponse) { total += one.At })
		return err
	})
}

func describedAsNew(run scenario.Run, group string) error {
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		described, err := admin.DescribeConsumerGroups(ctx, group)
		if err = errors.Join(err, described.Error()); err != nil {
			return err
		}
		return scenario.Check(len(described[group].Members) == 2, "the group is described with %d members", len(described[group].Members))
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
		group := run.Topic("two")
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
		topic, group := run.Topic("gzip"), run.Topic("two")
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

// shareGroup releases one record; all others are accepted, and it too when it comes again.
func shareGroup(run scenario.Run) error {
	topic, err := created(run, "shared", 1, nil)
	if err != nil {
		return err
	}
	ctx, cancel := limited()
	defer cancel()
	group := run.Topic("share")
	if err := alterGroup(ctx, run, group, "share.auto.offset.reset", "earliest"); err != nil {
		return err
	}
	if err := produceNumbers(ctx, run, topic, 0, scenario.Shared); err != nil {
		return err
	}
	var members []*kgo.Client
	for range 2 {
		member, err := client(run, kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
		if err != nil {
			return err
		}
		defer member.Close()
		members = append(members, member)
	}
	var accepted []string
	var released string
	for len(accepted) < scenario.Shared {
		for _, member := range members {
			some, stop := context.WithTimeout(ctx, 500*time.Millisecond)
			fetches := member.PollFetches(some)
			stop()
			if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%d records were accepted in time", len(accepted))
			}
			for _, record := range fetches.Records() {
				value := string(record.Value)
				count := map[bool]int32{false: 1, true: 2}[value == released]
				if record.DeliveryCount() != count {
					return fmt.Errorf("offset %d came with a delivery count of %d", record.Offset, record.DeliveryCount())
				}
				if released == "" {
					released = value
					record.Ack(kgo.AckRelease)
					continue
				}
				record.Ack(kgo.AckAccept)
				accepted = append(accepted, value)
			}
			if err := member.FlushAcks(ctx); err != nil {
				return err
			}
		}
	}
	return scenario.CheckValues(accepted, scenario.Shared, scenario.Unchanged)
}

func alterGroup(ctx context.Context, run scenario.Run, group, name, value string) error {
	raw, err := client(run)
	if err != nil {
		return err
	}
	defer raw.Close()
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, &value
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	answer, err := request.RequestWith(ctx, raw)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Resources[0].ErrorCode)
}
