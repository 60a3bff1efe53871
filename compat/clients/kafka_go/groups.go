package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"pykbroker/scenario"
)

// join starts a member that reads each partition of its generation by a reader of its own.
func join(run scenario.Run, topic, group, _ string) (*scenario.Member, error) {
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{run.Bootstrap}, Topics: []string{topic}, GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 6 * time.Second, JoinGroupBackoff: 200 * time.Millisecond,
		StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, err
	}
	member := scenario.NewMember()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	problems := make(chan error, 100)
	go func() {
		for {
			generation, err := members.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
				ended <- nil
				return
			}
			if err != nil {
				continue // a join that failed is tried again
			}
			for _, assignment := range generation.Assignments[topic] {
				generation.Start(func(ctx context.Context) {
					member.Assigned(int32(assignment.ID))
					defer member.Revoked(int32(assignment.ID))
					if err := takePartition(ctx, run, generation, topic, assignment, member); err != nil {
						problems <- err
					}
				})
			}
		}
	}()
	member.Stop = func() error {
		cancel()
		<-ended
		err := members.Close()
		close(problems)
		for problem := range problems {
			err = errors.Join(err, problem)
		}
		return err
	}
	return member, nil
}

// takePartition takes and commits until the generation ends; what was taken is committed then.
func takePartition(
	ctx context.Context, run scenario.Run, generation *kafka.Generation, topic string, assignment kafka.PartitionAssignment, member *scenario.Member,
) error {
	reader, err := partitionReader(run, nil, topic, assignment.ID, assignment.Offset)
	if err != nil {
		return err
	}
	defer reader.Close()
	next, uncommitted := int64(0), 0
	commit := func() error {
		if uncommitted == 0 {
			return nil
		}
		uncommitted = 0
		return generation.CommitOffsets(map[string]map[int]int64{topic: {assignment.ID: next}})
	}
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, commit())
		}
		member.Took(int32(message.Partition), message.Offset)
		next, uncommitted = message.Offset+1, uncommitted+1
		if uncommitted == 500 || reader.Lag() == 0 {
			if err := commit(); err != nil {
				return err
			}
		}
	}
}

func groupReader(run scenario.Run, topic, group string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{run.Bootstrap}, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 250 * time.Millisecond,
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 6 * time.Second, JoinGroupBackoff: 200 * time.Millisecond,
	})
}

// takeAndCommit commits just as many records.
func takeAndCommit(ctx context.Context, reader *kafka.Reader, wanted int) error {
	var messages []kafka.Message
	for len(messages) < wanted {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return err
		}
		messages = append(messages, message)
	}
	return reader.CommitMessages(ctx, messages...)
}

func consumeUntil(run scenario.Run, topic, group string, ready func(int)) error {
	ctx, reader := context.Background(), groupReader(run, topic, group)
	if err := takeAndCommit(ctx, reader, scenario.KilledAfter); err != nil {
		return err
	}
	ready(scenario.KilledAfter)
	for {
		if _, err := reader.FetchMessage(ctx); err != nil {
			return err
		}
	}
}

// countTheRest waits a little longer than for the last record that is wanted: more must not come.
func countTheRest(run scenario.Run, topic, group string, wanted int) (int, error) {
	ctx, cancel := limited()
	defer cancel()
	reader := groupReader(run, topic, group)
	if err := takeAndCommit(ctx, reader, wanted); err != nil {
		return 0, errors.Join(err, reader.Close())
	}
	count := wanted
	more, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	for {
		if _, err := reader.FetchMessage(more); err != nil {
			return count, reader.Close()
		}
		count++
	}
}
