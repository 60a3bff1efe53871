package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"pykbroker/scenario"
)

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scenario.Deadline)
}

// handler is what happens with each partition that a member of a group has.
type handler func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error

func (h handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	return h(session, claim)
}

// consume is in the group until the context ends; a session that ends before is followed by another one.
func consume(ctx context.Context, run scenario.Run, topic, group string, config *sarama.Config, work handler) error {
	member, err := sarama.NewConsumerGroup(addresses(run), group, config)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && err == nil {
		err = member.Consume(ctx, []string{topic}, work)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, member.Close())
}

// joinBy is how members join that share out by this strategy.
func joinBy(strategy func() sarama.BalanceStrategy) scenario.Join {
	return func(run scenario.Run, topic, group, instance string) (*scenario.Member, error) {
		config := settings()
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy()}
		if instance != "" {
			config.Consumer.Group.InstanceId = instance
			config.Consumer.Group.Session.Timeout = 30 * time.Second
		}
		member := scenario.NewMember()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- consume(ctx, run, topic, group, config, func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
				member.Assigned(claim.Partition())
				defer member.Revoked(claim.Partition())
				for message := range claim.Messages() {
					member.Took(message.Partition, message.Offset)
					session.MarkMessage(message, "")
					if len(claim.Messages()) == 0 {
						session.Commit()
					}
				}
				session.Commit()
				return nil
			})
		}()
		member.Stop = func() error {
			cancel()
			return <-ended
		}
		return member, nil
	}
}

// takeSome takes records by a group until there are as many as are wanted, commits just those, and goes on for as long as it may.
func takeSome(ctx context.Context, run scenario.Run, topic, group string, wanted int, committed func()) error {
	var mutex sync.Mutex
	count := 0
	return consume(ctx, run, topic, group, settings(), func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for message := range claim.Messages() {
			mutex.Lock()
			count++
			if count <= wanted {
				session.MarkMessage(message, "")
			}
			if count == wanted {
				session.Commit()
				committed()
			}
			mutex.Unlock()
		}
		return nil
	})
}

func consumeUntil(run scenario.Run, topic, group string, ready func(int)) error {
	return takeSome(context.Background(), run, topic, group, scenario.KilledAfter, func() { ready(scenario.KilledAfter) })
}

// countTheRest waits a little longer than for the last record that is wanted: more must not come.
func countTheRest(run scenario.Run, topic, group string, wanted int) (int, error) {
	ctx, cancel := limited()
	defer cancel()
	var mutex sync.Mutex
	count := 0
	err := consume(ctx, run, topic, group, settings(), func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		for message := range claim.Messages() {
			mutex.Lock()
			count++
			session.MarkMessage(message, "")
			if count == wanted {
				session.Commit()
				time.AfterFunc(300*time.Millisecond, cancel)
			}
			mutex.Unlock()
		}
		return nil
	})
	return count, err
}

// transform aborts every third transaction; the session then ends, and the next one begins with what is committed.
func transform(run scenario.Run) error {
	source, group := run.Topic("gzip"), run.Topic("transform")
	target, err := created(run, "transformed", 1, nil)
	if err != nil {
		return err
	}
	producing := idempotently(settings())
	producing.Producer.Transaction.ID = run.Topic("transformer")
	ctx, cancel := limited()
	defer cancel()
	reading := settings()
	reading.Consumer.IsolationLevel = sarama.ReadCommitted
	var mutex sync.Mutex
	done, transaction := 0, 0
	err = withProducer(run, producing, func(producer sarama.SyncProducer) error {
		return consume(ctx, run, source, group, reading, func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
			for {
				batch := take(claim.Messages(), 1000, 500*time.Millisecond)
				if session.Context().Err() != nil {
					return nil
				}
				if len(batch) == 0 {
					continue
				}
				mutex.Lock()
				transaction++
				commit := transaction%3 != 0
				err := transformBatch(producer, target, batch, sarama.NewConsumerGroupMetadataFromSession(session, group, nil), commit)
				if err == nil && commit {
					done += len(batch)
				}
				if err != nil || done == scenario.Records {
					cancel()
				}
				mutex.Unlock()
				if err != nil || !commit {
					return err
				}
			}
		})
	})
	if err != nil || done != scenario.Records {
		return errors.Join(err, fmt.Errorf("%d records were transformed in time", done))
	}
	found, err := linesOf(run, target, sarama.ReadCommitted, scenario.Records)
	if err = errors.Join(err, scenario.CheckValues(found, scenario.Records, strings.ToUpper)); err != nil {
		return err
	}
	total, err := committed(run, source, group)
	return errors.Join(err, scenario.Check(total == scenario.Records, "%d was committed", total))
}

// take gives what comes, until there is enough of it or nothing more for this long.
func take(messages <-chan *sarama.ConsumerMessage, most int, patience time.Duration) []*sarama.ConsumerMessage {
	var taken []*sarama.ConsumerMessage
	for len(taken) < most {
		select {
		case message, open := <-messages:
			if !open {
				return taken
			}
			taken = append(taken, message)
		case <-time.After(patience):
			return taken
		}
	}
	return taken
}

func transformBatch(
	producer sarama.SyncProducer, target string, batch []*sarama.ConsumerMessage, group *sarama.ConsumerGroupMetadata, commit bool,
) error {
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for _, one := range batch {
		messages = append(messages, &sarama.ProducerMessage{Topic: target, Value: sarama.StringEncoder(strings.ToUpper(string(one.Value)))})
	}
	if err := send(producer, messages); err != nil {
		return err
	}
	if err := producer.AddMessageToTxnWithGroupMetadata(batch[len(batch)-1], group, nil); err != nil {
		return err
	}
	if commit {
		return producer.CommitTxn()
	}
	return producer.AbortTxn()
}
