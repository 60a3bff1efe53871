package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"pykbroker/scenario"
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func produce(run scenario.Run, compression string) error {
	topic, config := run.Topic(compression), settings()
	config.Producer.Compression = codecs[compression]
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	messages := messagesOf(topic, 0, scenario.Records)
	for number, message := range messages {
		message.Headers = []sarama.RecordHeader{{Key: []byte("number"), Value: fmt.Append(nil, number)}, {Key: []byte("empty")}}
	}
	if err := withProducer(run, config, func(producer sarama.SyncProducer) error { return send(producer, messages) }); err != nil {
		return err
	}
	judge := scenario.NewReadBack()
	err := read(run, settings(), topic, scenario.Partitions, func(message *sarama.ConsumerMessage) bool {
		if len(message.Headers) == 2 && message.Headers[1].Value == nil {
			judge.Add(message.Key, message.Value, message.Headers[0].Value)
		}
		return judge.Done()
	})
	return errors.Join(judge.Err(), err)
}

// read gives each record of a topic from the beginning on, until one of them is the last that is wanted.
func read(run scenario.Run, config *sarama.Config, topic string, partitions int32, last func(*sarama.ConsumerMessage) bool) error {
	consumer, err := sarama.NewConsumer(addresses(run), config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages, stop := make(chan *sarama.ConsumerMessage), make(chan struct{})
	defer close(stop)
	for number := range partitions {
		partition, err := consumer.ConsumePartition(topic, number, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer partition.AsyncClose()
		go func() {
			for message := range partition.Messages() {
				select {
				case messages <- message:
				case <-stop:
				}
			}
		}()
	}
	patience := time.After(scenario.Deadline)
	for {
		select {
		case message := <-messages:
			if last(message) {
				return nil
			}
		case <-patience:
			return fmt.Errorf("not all records of %s came within %v", topic, scenario.Deadline)
		}
	}
}

func idempotent(run scenario.Run) error {
	topic, err := created(run, "idempotent", 1, nil)
	if err != nil {
		return err
	}
	config := idempotently(settings())
	config.Producer.Flush.MaxMessages = 100
	messages := messagesOf(topic, 0, scenario.Records)
	if err := withProducer(run, config, func(producer sarama.SyncProducer) error { return send(producer, messages) }); err != nil {
		return err
	}
	for number, message := range messages {
		if message.Offset != int64(number) {
			return fmt.Errorf("record %d is at offset %d", number, message.Offset)
		}
	}
	return nil
}

func largeMessages(run scenario.Run) error {
	topic, err := created(run, "large", 1, map[string]*string{"max.message.bytes": new(fmt.Sprint(scenario.LargeLimitBytes))})
	if err != nil {
		return err
	}
	config := settings()
	config.Producer.MaxMessageBytes = scenario.LargeLimitBytes
	return withProducer(run, config, func(producer sarama.SyncProducer) error {
		for number := range 3 {
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(scenario.Large(number))})
			if err != nil {
				return err
			}
		}
		number := 0
		err := read(run, settings(), topic, 1, func(message *sarama.ConsumerMessage) bool {
			if string(message.Value) != string(scenario.Large(number)) {
				return true
			}
			number++
			return number == 3
		})
		if err = errors.Join(err, scenario.Check(number == 3, "message %d comes back as something else", number)); err != nil {
			return err
		}
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: run.Topic("none"), Value: sarama.ByteEncoder(scenario.Large(0))})
		return scenario.Check(errors.Is(err, sarama.ErrMessageSizeTooLarge), "too large a message: %v", err)
	})
}

func wide(run scenario.Run) error {
	topic, err := created(run, "wide", scenario.Wide, nil)
	if err != nil {
		return err
	}
	config := settings()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	messages := messagesOf(topic, 0, scenario.Wide)
	for number, message := range messages {
		message.Partition = int32(number)
	}
	if err := withProducer(run, config, func(producer sarama.SyncProducer) error { return send(producer, messages) }); err != nil {
		return err
	}
	var values []string
	var wrong error
	err = read(run, settings(), topic, scenario.Wide, func(message *sarama.ConsumerMessage) bool {
		if string(message.Value) != scenario.Value(int(message.Partition)) {
			wrong = fmt.Errorf("partition %d has the record of another one", message.Partition)
		}
		values = append(values, string(message.Value))
		return len(values) == scenario.Wide
	})
	if err = errors.Join(err, wrong, scenario.CheckValues(values, scenario.Wide, scenario.Unchanged)); err != nil {
		return err
	}
	return withAdmin(run, func(admin sarama.ClusterAdmin) error { return drop(admin, topic) })
}

// seek closes a partition's consumer and opens it elsewhere: that is how sarama seeks.
func seek(run scenario.Run) error {
	config := settings()
	config.ChannelBufferSize = 0
	config.Consumer.Fetch.Default = 4096
	consumer, err := sarama.NewConsumer(addresses(run), config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	topic := run.Topic("none")
	var open [2]sarama.PartitionConsumer
	to := func(partition int32, offset int64) (err error) {
		if open[partition] != nil {
			if err := open[partition].Close(); err != nil {
				return err
			}
		}
		open[partition], err = consumer.ConsumePartition(topic, partition, offset)
		return err
	}
	if err := errors.Join(to(0, 0), to(1, 0)); err != nil {
		return err
	}
	if count := len(take(open[0].Messages(), 10, scenario.Deadline)); count != 10 {
		return fmt.Errorf("%d records came", count)
	}
	if err := to(0, 5); err != nil {
		return err
	}
	var offsets []int64
	more := func(most int, patience time.Duration) int {
		taken := take(open[0].Messages(), most, patience)
		for _, message := range taken {
			offsets = append(offsets, message.Offset)
		}
		return len(taken)
	}
	more(50, scenario.Deadline)
	consumer.Pause(map[string][]int32{topic: {0}})
	more(scenario.Records, time.Second) // those that were fetched before the pause
	count := len(offsets)
	if err := to(1, 0); err != nil {
		return err
	}
	others := len(take(open[1].Messages(), 500, scenario.Deadline))
	if while := more(scenario.Records, time.Second); while != 0 || others != 500 {
		return fmt.Errorf("while paused came %d records, and %d from the other partition", while, others)
	}
	consumer.Resume(map[string][]int32{topic: {0}})
	more(50, scenario.Deadline)
	if err := errors.Join(scenario.CheckPaused(offsets), scenario.Check(len(offsets) == count+50, "no records after the pause")); err != nil {
		return err
	}
	end := open[0].HighWaterMarkOffset()
	if err := to(0, end-1); err != nil {
		return err
	}
	last := take(open[0].Messages(), 1, scenario.Deadline)
	return scenario.Check(len(last) == 1 && last[0].Offset == end-1, "%v come last before %d", last, end)
}

// linesOf are the values of a topic of one partition under an isolation level; a little longer is read than until the last one.
func linesOf(run scenario.Run, topic string, isolation sarama.IsolationLevel, wanted int) ([]string, error) {
	config := settings()
	config.Consumer.IsolationLevel = isolation
	consumer, err := sarama.NewConsumer(addresses(run), config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	found := take(partition.Messages(), wanted, scenario.Deadline)
	var values []string
	for _, message := range append(found, take(partition.Messages(), 10, time.Second)...) {
		values = append(values, string(message.Value))
	}
	return values, nil
}

func transactions(run scenario.Run) error {
	topic, err := created(run, "transactions", 1, nil)
	if err != nil {
		return err
	}
	config := idempotently(settings())
	config.Producer.Transaction.ID = run.Topic("transactional")
	return withProducer(run, config, func(first sarama.SyncProducer) error {
		for _, outcome := range scenario.TransactionOutcomes {
			if err := transact(first, topic, outcome); err != nil {
				return fmt.Errorf("%s: %w", outcome, err)
			}
		}
		for isolation, outcomes := range map[sarama.IsolationLevel][]string{
			sarama.ReadCommitted: {"committed", "again"}, sarama.ReadUncommitted: scenario.TransactionOutcomes,
		} {
			seen, err := linesOf(run, topic, isolation, len(outcomes)*scenario.TransactionRecords)
			if err = errors.Join(err, scenario.CheckTransactions(seen, outcomes...)); err != nil {
				return err
			}
		}
		return withProducer(run, config, func(second sarama.SyncProducer) error {
			err := transact(first, topic, "fenced")
			if !errors.Is(err, sarama.ErrProducerFenced) && !errors.Is(err, sarama.ErrInvalidProducerEpoch) {
				return fmt.Errorf("the first producer is not fenced: %w", err)
			}
			return transact(second, topic, "second")
		})
	})
}

func transact(producer sarama.SyncProducer, topic, outcome string) error {
	if err := producer.BeginTxn(); err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for number := range scenario.TransactionRecords {
		value := sarama.StringEncoder(scenario.TransactionValue(outcome, number))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: value})
	}
	if err := send(producer, messages); err != nil {
		return err
	}
	if outcome == "aborted" {
		return producer.AbortTxn()
	}
	return producer.CommitTxn()
}

// restart goes on producing while the broker is stopped and started.
func restart(run scenario.Run) error {
	topic, err := created(run, "restart", scenario.Partitions, nil)
	if err != nil {
		return err
	}
	group := run.Topic("restart")
	err = withProducer(run, idempotently(settings()), func(producer sarama.SyncProducer) error {
		if err := send(producer, messagesOf(topic, 0, scenario.RestartAfter)); err != nil {
			return err
		}
		ctx, cancel := limited()
		defer cancel()
		if err := takeSome(ctx, run, topic, group, scenario.RestartCommitted, cancel); err != nil {
			return err
		}
		sent := make(chan error, 1)
		go func() { sent <- produceSlowly(producer, topic) }()
		return errors.Join(run.RestartBroker(), <-sent)
	})
	if err != nil {
		return err
	}
	total, err := committed(run, topic, group)
	if err = errors.Join(err, scenario.Check(total == scenario.RestartCommitted, "%d is committed after the restart", total)); err != nil {
		return err
	}
	var values []string
	err = read(run, settings(), topic, scenario.Partitions, func(message *sarama.ConsumerMessage) bool {
		values = append(values, string(message.Value))
		return len(values) == scenario.RestartRecords
	})
	if err = errors.Join(err, scenario.CheckValues(values, scenario.RestartRecords, scenario.Unchanged)); err != nil {
		return err
	}
	rest, err := countTheRest(run, topic, group, scenario.RestartRecords-scenario.RestartCommitted)
	return errors.Join(err, scenario.Check(rest == scenario.RestartRecords-scenario.RestartCommitted, "the group then has %d records", rest))
}

// produceSlowly sends the rest of the records over a second or so: some of them are under way when the broker goes.
func produceSlowly(producer sarama.SyncProducer, topic string) error {
	for number := scenario.RestartAfter; number < scenario.RestartRecords; number += 40 {
		if err := send(producer, messagesOf(topic, number, number+40)); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func writeAndRead(run scenario.Run, way scenario.SignIn) error {
	config := settings()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Metadata.Retry.Max = 3 // a wrong password stays wrong
	config.Net.TLS.Enable, config.Net.TLS.Config = way.TLS != nil, way.TLS
	if way.Mechanism != "" {
		config.Net.SASL.Enable = true
		config.Net.SASL.Mechanism = sarama.SASLMechanism(way.Mechanism)
		config.Net.SASL.User, config.Net.SASL.Password = way.User, way.Password
		config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{way: way} }
	}
	run.Bootstrap = way.Bootstrap
	return withProducer(run, config, func(producer sarama.SyncProducer) error {
		topic := run.Topic("none")
		_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("signed in")})
		if err != nil {
			return err
		}
		consumer, err := sarama.NewConsumer(addresses(run), config)
		if err != nil {
			return err
		}
		defer consumer.Close()
		partition, err := consumer.ConsumePartition(topic, 0, offset)
		if err != nil {
			return err
		}
		defer partition.Close()
		found := take(partition.Messages(), 1, scenario.Deadline)
		return scenario.Check(len(found) == 1 && string(found[0].Value) == "signed in", "%v was read", found)
	})
}

func refusedAsSuch(err error) bool { return errors.Is(err, sarama.ErrSASLAuthenticationFailed) }

// conversation is the client's side of SCRAM, which sarama leaves to its user.
type conversation struct {
	way scenario.SignIn
	*scram.ClientConversation
}

func (c *conversation) Begin(user, password, authorized string) error {
	hash := map[string]scram.HashGeneratorFcn{sarama.SASLTypeSCRAMSHA256: scram.SHA256, sarama.SASLTypeSCRAMSHA512: scram.SHA512}[c.way.Mechanism]
	client, err := hash.NewClient(user, password, authorized)
	if err != nil {
		return err
	}
	c.ClientConversation = client.NewConversation()
	return nil
}
