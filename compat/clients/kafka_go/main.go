// segmentio/kafka-go as a user would use it.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"pykbroker/scenario"
)

const (
	onlyClassic     = "kafka-go knows neither KIP-848 nor KIP-932: it has groups of the classic protocol only"
	noProducerID    = "kafka-go writes every batch without a producer id, also with its requests for transactions"
	onlyEager       = "the group balancers of kafka-go are eager ones"
	noInstanceID    = "the groups of kafka-go have no group.instance.id"
	writeBatchBytes = 2 * scenario.LargeLimitBytes
)

func main() {
	two := scenario.Group{Topic: "gzip", Name: "two", Join: join, Committed: committed}
	scenario.Main(scenario.Client{
		Produce: produce, ConsumeUntil: consumeUntil, CountTheRest: countTheRest,
		Scenarios: map[string]func(scenario.Run) error{
			"create topic":                               createTopics,
			"administer a topic":                         administer,
			"idempotent producer":                        scenario.Skip(noProducerID),
			"messages of 5 MiB":                          largeMessages,
			"1,000 partitions":                           wide,
			"consume in a group of two with a rebalance": two.OfTwo,
			"consume in a group of two, cooperatively":   scenario.Skip(onlyEager),
			"restart a static member":                    scenario.Skip(noInstanceID),
			"seek, pause, resume":                        seek,
			"list and describe groups":                   listAndDescribe,
			"reset offsets":                              resetOffsets,
			"offsets by time":                            offsetsByTime,
			"transactions":                               scenario.Skip(noProducerID),
			"consume, transform, produce":                scenario.Skip(noProducerID),
			"consumer group of the new protocol":         scenario.Skip(onlyClassic),
			"share group":                                scenario.Skip(onlyClassic),
			"restart the broker":                         restart,
			"sign in":                                    scenario.EachWayToSignIn(writeAndRead, refusedAsSuch),
			"delete":                                     deleteAll,
		},
	})
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scenario.Deadline)
}

// withClient does something with a client for single requests, which ends with it.
func withClient(run scenario.Run, work func(context.Context, *kafka.Client) error) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := limited()
	defer cancel()
	return work(ctx, &kafka.Client{Addr: kafka.TCP(run.Bootstrap), Transport: transport, Timeout: scenario.Deadline})
}

// write sends messages, each to the partition that the balancer says; in the end all are acknowledged.
func write(run scenario.Run, topic string, balancer kafka.Balancer, compression kafka.Compression, messages ...kafka.Message) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	writer := &kafka.Writer{
		Addr: kafka.TCP(run.Bootstrap), Topic: topic, Balancer: balancer, Compression: compression, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 5 * time.Millisecond, BatchBytes: writeBatchBytes, MaxAttempts: 100, Transport: transport,
	}
	ctx, cancel := limited()
	defer cancel()
	return errors.Join(first(writer.WriteMessages(ctx, messages...)), writer.Close())
}

// first is the first of what went wrong with many messages.
func first(err error) error {
	var many kafka.WriteErrors
	if errors.As(err, &many) {
		for _, one := range many {
			if one != nil {
				return one
			}
		}
	}
	return err
}

// to is a balancer that knows just one partition.
func to(partition int) kafka.Balancer {
	return kafka.BalancerFunc(func(kafka.Message, ...int) int { return partition })
}

// messagesOf are the records of the numbers from first to before, each with its key.
func messagesOf(first, before int) []kafka.Message {
	var messages []kafka.Message
	for number := first; number < before; number++ {
		messages = append(messages, kafka.Message{Key: []byte(scenario.Key(number)), Value: []byte(scenario.Value(number))})
	}
	return messages
}

// partitionReader reads one partition from an offset on.
func partitionReader(run scenario.Run, dialer *kafka.Dialer, topic string, partition int, offset int64) (*kafka.Reader, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{run.Bootstrap}, Dialer: dialer, Topic: topic, Partition: partition, MaxWait: 250 * time.Millisecond,
		MaxBytes: scenario.LargeLimitBytes, ReadBackoffMin: 10 * time.Millisecond,
	})
	return reader, reader.SetOffset(offset)
}
