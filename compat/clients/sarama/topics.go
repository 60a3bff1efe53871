package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"pykbroker/scenario"
)

func createTopics(run scenario.Run) error {
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		for _, topic := range run.Topics() {
			if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: scenario.Partitions, ReplicationFactor: 1}, false); err != nil {
				return err
			}
		}
		for _, topic := range run.Topics() {
			if err := untilListed(admin, topic, scenario.Partitions); err != nil {
				return fmt.Errorf("%s: %w", topic, err)
			}
		}
		return nil
	})
}

// created is a new topic, once it has its leaders.
func created(run scenario.Run, name string, partitions int32, configs map[string]*string) (string, error) {
	topic := run.Topic(name)
	return topic, withAdmin(run, func(admin sarama.ClusterAdmin) error {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
		if err := admin.CreateTopic(topic, detail, false); err != nil {
			return err
		}
		return untilListed(admin, topic, partitions)
	})
}

func untilListed(admin sarama.ClusterAdmin, topic string, partitions int32) error {
	return scenario.Until("the topic's leaders", func() bool {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil || len(described) != 1 || len(described[0].Partitions) != int(partitions) {
			return false
		}
		for _, one := range described[0].Partitions {
			if one.Err != sarama.ErrNoError || one.Leader < 0 {
				return false
			}
		}
		return true
	})
}

func drop(admin sarama.ClusterAdmin, topics ...string) error {
	for _, topic := range topics {
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
	}
	return scenario.Until("the topics' end", func() bool {
		listed, err := admin.ListTopics()
		if err != nil {
			return false
		}
		for _, topic := range topics {
			if _, there := listed[topic]; there {
				return false
			}
		}
		return true
	})
}

func administer(run scenario.Run) error {
	topic, err := created(run, "admin", 2, map[string]*string{"retention.ms": new("3600000")})
	if err != nil {
		return err
	}
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		if now, err := retention(admin, topic); err != nil || now != "3600000" {
			return errors.Join(err, fmt.Errorf("retention.ms is %q", now))
		}
		set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: new("7200000")}
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": set}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false); err != nil {
			return err
		}
		err := scenario.Until("the altered config", func() bool {
			now, err := retention(admin, topic)
			return err == nil && now == "7200000"
		})
		if err != nil {
			return err
		}
		if err := admin.CreatePartitions(topic, 5, nil, false); err != nil {
			return err
		}
		if err := untilListed(admin, topic, 5); err != nil {
			return err
		}
		err = admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false)
		if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("created twice: %w", err)
		}
		return drop(admin, topic)
	})
}

func retention(admin sarama.ClusterAdmin, topic string) (string, error) {
	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
	entries, err := admin.DescribeConfig(resource)
	if err != nil || len(entries) != 1 {
		return "", errors.Join(err, fmt.Errorf("%d entries are described", len(entries)))
	}
	return entries[0].Value, nil
}

func listAndDescribe(run scenario.Run) error {
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		group := run.Topic("two")
		listed, err := admin.ListConsumerGroups()
		if err != nil {
			return err
		}
		if _, found := listed[group]; !found {
			return errors.New("the group is not listed")
		}
		described, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil {
			return err
		}
		return scenario.Check(described[0].State == "Empty", "the group is %s", described[0].State)
	})
}

// committed is the sum of what a group has committed in all partitions.
func committed(run scenario.Run, topic, group string) (int64, error) {
	total := int64(0)
	return total, withAdmin(run, func(admin sarama.ClusterAdmin) error {
		return eachCommitted(admin, topic, group, func(block *sarama.OffsetFetchResponseBlock) error {
			total += max(block.Offset, 0)
			return nil
		})
	})
}

func eachCommitted(admin sarama.ClusterAdmin, topic, group string, work func(*sarama.OffsetFetchResponseBlock) error) error {
	found, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: allPartitions(scenario.Partitions)})
	if err != nil {
		return err
	}
	for number := range int32(scenario.Partitions) {
		block := found.GetBlock(topic, number)
		if block == nil || block.Err != sarama.ErrNoError {
			return fmt.Errorf("partition %d has %v", number, block)
		}
		if err := work(block); err != nil {
			return err
		}
	}
	return nil
}

func resetOffsets(run scenario.Run) error {
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		topic, group := run.Topic("gzip"), run.Topic("two")
		wanted := map[int32]sarama.OffsetAndMetadata{}
		for number := range int32(scenario.Partitions) {
			wanted[number] = sarama.OffsetAndMetadata{Offset: 7, Metadata: "reset", LeaderEpoch: -1}
		}
		answer, err := admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{topic: wanted}, nil)
		if err != nil {
			return err
		}
		for number, code := range answer.Errors[topic] {
			if code != sarama.ErrNoError {
				return fmt.Errorf("partition %d: %w", number, code)
			}
		}
		return eachCommitted(admin, topic, group, func(block *sarama.OffsetFetchResponseBlock) error {
			return scenario.Check(block.Offset == 7 && block.Metadata == "reset", "%v after the reset", block)
		})
	})
}

func offsetsByTime(run scenario.Run) error {
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		topic := run.Topic("none")
		at := func(time int64) ([]*sarama.OffsetResult, error) {
			wanted := map[int32]int64{}
			for number := range int32(scenario.Partitions) {
				wanted[number] = time
			}
			found, err := admin.ListOffsets(map[string]map[int32]int64{topic: wanted}, nil)
			if err != nil {
				return nil, err
			}
			var results []*sarama.OffsetResult
			for number := range int32(scenario.Partitions) {
				one := found[topic][number]
				if one.Err != nil && !errors.Is(one.Err, sarama.ErrNoError) {
					return nil, one.Err
				}
				results = append(results, one)
			}
			return results, nil
		}
		beginning, err := at(0)
		if err != nil {
			return err
		}
		future, err := at(time.Now().Add(time.Hour).UnixMilli())
		if err != nil {
			return err
		}
		ends, err := at(sarama.OffsetNewest)
		if err != nil {
			return err
		}
		total := int64(0)
		for number := range scenario.Partitions {
			total += ends[number].Offset
			if beginning[number].Offset != 0 {
				return fmt.Errorf("time 0 is %d, not the beginning", beginning[number].Offset)
			}
			if future[number].Offset != -1 {
				return fmt.Errorf("the future is %d, not none", future[number].Offset)
			}
		}
		return scenario.Check(total == scenario.Records, "the ends add up to %d", total)
	})
}

func deleteAll(run scenario.Run) error {
	return withAdmin(run, func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteConsumerGroup(run.Topic("two")); err != nil {
			return err
		}
		return drop(admin, run.Topics()...)
	})
}
