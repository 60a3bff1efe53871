package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"pykbroker/scenario"
)

func createTopics(run scenario.Run) error {
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		var wanted []kafka.TopicConfig
		for _, topic := range run.Topics() {
			wanted = append(wanted, kafka.TopicConfig{Topic: topic, NumPartitions: scenario.Partitions, ReplicationFactor: 1})
		}
		if err := create(ctx, client, wanted...); err != nil {
			return err
		}
		for _, topic := range run.Topics() {
			if err := untilListed(ctx, client, topic, scenario.Partitions); err != nil {
				return fmt.Errorf("%s: %w", topic, err)
			}
		}
		return nil
	})
}

func create(ctx context.Context, client *kafka.Client, topics ...kafka.TopicConfig) error {
	answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	return firstOf(answer.Errors)
}

// firstOf is one of the errors under these names, if there is one.
func firstOf(found map[string]error) error {
	for name, err := range found {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// created is a new topic, once it has its leaders.
func created(run scenario.Run, name string, partitions int, configs ...kafka.ConfigEntry) (string, error) {
	topic := run.Topic(name)
	return topic, withClient(run, func(ctx context.Context, client *kafka.Client) error {
		wanted := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
		if err := create(ctx, client, wanted); err != nil {
			return err
		}
		return untilListed(ctx, client, topic, partitions)
	})
}

func untilListed(ctx context.Context, client *kafka.Client, topic string, partitions int) error {
	return scenario.Until("the topic's leaders", func() bool {
		listed, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil || len(listed.Topics) != 1 || len(listed.Topics[0].Partitions) != partitions {
			return false
		}
		for _, one := range listed.Topics[0].Partitions {
			if one.Error != nil || one.Leader.Host == "" {
				return false
			}
		}
		return true
	})
}

func drop(ctx context.Context, client *kafka.Client, topics ...string) error {
	answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	if err := firstOf(answer.Errors); err != nil {
		return err
	}
	return scenario.Until("the topics' end", func() bool {
		listed, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err != nil {
			return false
		}
		for _, one := range listed.Topics {
			if !errors.Is(one.Error, kafka.UnknownTopicOrPartition) {
				return false
			}
		}
		return true
	})
}

func administer(run scenario.Run) error {
	topic, err := created(run, "admin", 2, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "3600000"})
	if err != nil {
		return err
	}
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		if now, err := retention(ctx, client, topic); err != nil || now != "3600000" {
			return errors.Join(err, fmt.Errorf("retention.ms is %q", now))
		}
		set := kafka.IncrementalAlterConfigsRequestConfig{Name: "retention.ms", Value: "7200000", ConfigOperation: kafka.ConfigOperationSet}
		altered, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{set},
			}},
		})
		if err == nil {
			err = altered.Resources[0].Error
		}
		if err != nil {
			return err
		}
		err = scenario.Until("the altered config", func() bool {
			now, err := retention(ctx, client, topic)
			return err == nil && now == "7200000"
		})
		if err != nil {
			return err
		}
		grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 5}}})
		if err == nil {
			err = firstOf(grown.Errors)
		}
		if err != nil {
			return err
		}
		if err := untilListed(ctx, client, topic, 5); err != nil {
			return err
		}
		err = create(ctx, client, kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1})
		if !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("created twice: %w", err)
		}
		return drop(ctx, client, topic)
	})
}

func retention(ctx context.Context, client *kafka.Client, topic string) (string, error) {
	answer, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"}},
	}})
	if err != nil {
		return "", err
	}
	if one := answer.Resources[0]; one.Error != nil || len(one.ConfigEntries) != 1 {
		return "", fmt.Errorf("%d entries are described: %w", len(one.ConfigEntries), one.Error)
	}
	return answer.Resources[0].ConfigEntries[0].ConfigValue, nil
}

func listAndDescribe(run scenario.Run) error {
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		group := run.Topic("two")
		listed, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
		if err != nil {
			return err
		}
		found := false
		for _, one := range listed.Groups {
			found = found || one.GroupID == group
		}
		if err := errors.Join(listed.Error, scenario.Check(found, "the group is not listed")); err != nil {
			return err
		}
		described, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		one := described.Groups[0]
		return errors.Join(one.Error, scenario.Check(one.GroupState == "Empty", "the group is %s", one.GroupState))
	})
}

// committed is the sum of what a group has committed in all partitions.
func committed(run scenario.Run, topic, group string) (int64, error) {
	total := int64(0)
	return total, withClient(run, func(ctx context.Context, client *kafka.Client) error {
		return eachCommitted(ctx, client, topic, group, func(one kafka.OffsetFetchPartition) error {
			total += max(one.CommittedOffset, 0)
			return nil
		})
	})
}

func eachCommitted(ctx context.Context, client *kafka.Client, topic, group string, work func(kafka.OffsetFetchPartition) error) error {
	wanted := map[string][]int{topic: {0, 1, 2, 3}}
	found, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: wanted})
	if err != nil {
		return err
	}
	if err := errors.Join(found.Error, scenario.Check(len(found.Topics[topic]) == scenario.Partitions, "%v is committed", found.Topics)); err != nil {
		return err
	}
	for _, one := range found.Topics[topic] {
		if err := errors.Join(one.Error, work(one)); err != nil {
			return err
		}
	}
	return nil
}

func resetOffsets(run scenario.Run) error {
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		topic, group := run.Topic("gzip"), run.Topic("two")
		var wanted []kafka.OffsetCommit
		for number := range scenario.Partitions {
			wanted = append(wanted, kafka.OffsetCommit{Partition: number, Offset: 7, Metadata: "reset"})
		}
		answer, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
			GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: wanted},
		})
		if err != nil {
			return err
		}
		for _, one := range answer.Topics[topic] {
			if one.Error != nil {
				return one.Error
			}
		}
		return eachCommitted(ctx, client, topic, group, func(one kafka.OffsetFetchPartition) error {
			return scenario.Check(one.CommittedOffset == 7 && one.Metadata == "reset", "%v after the reset", one)
		})
	})
}

func offsetsByTime(run scenario.Run) error {
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		topic := run.Topic("none")
		beginning, err := offsets(ctx, client, topic, func(number int) kafka.OffsetRequest { return kafka.TimeOffsetOf(number, time.UnixMilli(0)) })
		if err != nil {
			return err
		}
		later := time.Now().Add(time.Hour)
		future, err := offsets(ctx, client, topic, func(number int) kafka.OffsetRequest { return kafka.TimeOffsetOf(number, later) })
		if err != nil {
			return err
		}
		for number := range scenario.Partitions {
			if _, found := beginning[number].Offsets[0]; !found || len(beginning[number].Offsets) != 1 {
				return fmt.Errorf("time 0 is %v, not the beginning", beginning[number])
			}
			if _, missing := future[number].Offsets[-1]; !missing || len(future[number].Offsets) != 1 {
				return fmt.Errorf("the future is %v, not none", future[number])
			}
		}
		total, err := endsOf(ctx, client, topic)
		return errors.Join(err, scenario.Check(total == scenario.Records, "the ends add up to %d", total))
	})
}

// endsOf is the sum of a topic's end offsets.
func endsOf(ctx context.Context, client *kafka.Client, topic string) (int64, error) {
	total := int64(0)
	ends, err := offsets(ctx, client, topic, kafka.LastOffsetOf)
	for _, one := range ends {
		total += one.LastOffset
	}
	return total, err
}

// offsets are those of each partition.
func offsets(ctx context.Context, client *kafka.Client, topic string, of func(int) kafka.OffsetRequest) (map[int]kafka.PartitionOffsets, error) {
	var wanted []kafka.OffsetRequest
	for number := range scenario.Partitions {
		wanted = append(wanted, of(number))
	}
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: wanted}})
	if err != nil {
		return nil, err
	}
	found := map[int]kafka.PartitionOffsets{}
	for _, one := range answer.Topics[topic] {
		if one.Error != nil {
			return nil, one.Error
		}
		found[one.Partition] = one
	}
	return found, scenario.Check(len(found) == scenario.Partitions, "%d partitions have offsets", len(found))
}

func deleteAll(run scenario.Run) error {
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{run.Topic("two")}})
		if err == nil {
			err = firstOf(answer.Errors)
		}
		if err != nil {
			return err
		}
		return drop(ctx, client, run.Topics()...)
	})
}
