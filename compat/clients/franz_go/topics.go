package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"pykbroker/scenario"
)

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

// created is a new topic, once it has its leaders.
func created(run scenario.Run, name string, partitions int32, configs map[string]*string) (string, error) {
	topic := run.Topic(name)
	return topic, withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		made, err := admin.CreateTopics(ctx, partitions, 1, configs, topic)
		if err = errors.Join(err, made.Error()); err != nil {
			return err
		}
		return untilListed(ctx, admin, topic, partitions)
	})
}

func untilListed(ctx context.Context, admin *kadm.Client, topic string, partitions int32) error {
	return scenario.Until("the topic's leaders", func() bool {
		listed, err := admin.ListTopics(ctx, topic)
		if err != nil || len(listed[topic].Partitions) != int(partitions) {
			return false
		}
		for _, one := range listed[topic].Partitions {
			if one.Err != nil || one.Leader < 0 {
				return false
			}
		}
		return true
	})
}

func drop(ctx context.Context, admin *kadm.Client, topics ...string) error {
	deleted, err := admin.DeleteTopics(ctx, topics...)
	if err = errors.Join(err, deleted.Error()); err != nil {
		return err
	}
	return scenario.Until("the topics' end", func() bool {
		listed, err := admin.ListTopics(ctx)
		if err != nil {
			return false
		}
		for _, topic := range topics {
			if listed.Has(topic) {
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
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		if now, err := retention(ctx, admin, topic); err != nil || now != "3600000" {
			return errors.Join(err, fmt.Errorf("retention.ms is %q", now))
		}
		altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: new("7200000")}}, topic)
		if err == nil {
			_, err = altered.On(topic, func(one *kadm.AlterConfigsResponse) error { return one.Err })
		}
		if err != nil {
			return err
		}
		err = scenario.Until("the altered config", func() bool {
			now, err := retention(ctx, admin, topic)
			return err == nil && now == "7200000"
		})
		if err != nil {
			return err
		}
		grown, err := admin.UpdatePartitions(ctx, 5, topic)
		if err = errors.Join(err, grown.Error()); err != nil {
			return err
		}
		if err := untilListed(ctx, admin, topic, 5); err != nil {
			return err
		}
		twice, err := admin.CreateTopics(ctx, 2, 1, nil, topic)
		if err = errors.Join(err, twice.Error()); !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("created twice: %w", err)
		}
		return drop(ctx, admin, topic)
	})
}

func retention(ctx context.Context, admin *kadm.Client, topic string) (string, error) {
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	one, err := described.On(topic, func(one *kadm.ResourceConfig) error { return one.Err })
	for _, config := range one.Configs {
		if config.Key == "retention.ms" {
			return config.MaybeValue(), err
		}
	}
	return "", err
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
		groups, err := admin.DeleteGroups(ctx, run.Topic("two"))
		if err = errors.Join(err, groups.Error()); err != nil {
			return err
		}
		return drop(ctx, admin, run.Topics()...)
	})
}
