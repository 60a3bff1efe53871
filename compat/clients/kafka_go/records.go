package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"pykbroker/scenario"
)

const none = kafka.Compression(0)

var codecs = map[string]kafka.Compression{"none": none, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func produce(run scenario.Run, compression string) error {
	topic, messages := run.Topic(compression), messagesOf(0, scenario.Records)
	for number := range messages {
		messages[number].Headers = []kafka.Header{{Key: "number", Value: fmt.Append(nil, number)}, {Key: "empty"}}
	}
	if err := write(run, topic, &kafka.Hash{}, codecs[compression], messages...); err != nil {
		return err
	}
	judge := scenario.NewReadBack()
	err := read(run, topic, func(message kafka.Message) bool {
		if len(message.Headers) == 2 && len(message.Headers[1].Value) == 0 {
			judge.Add(message.Key, message.Value, message.Headers[0].Value)
		}
		return judge.Done()
	})
	return errors.Join(judge.Err(), err)
}

// read gives each record of a topic from the beginning on, until one of them is the last that is wanted.
func read(run scenario.Run, topic string, last func(kafka.Message) bool) error {
	ctx, cancel := limited()
	defer cancel()
	messages, problems := make(chan kafka.Message), make(chan error, scenario.Partitions)
	for number := range scenario.Partitions {
		reader, err := partitionReader(run, nil, topic, number, kafka.FirstOffset)
		if err != nil {
			return err
		}
		defer reader.Close()
		go func() {
			for {
				message, err := reader.ReadMessage(ctx)
				if err != nil {
					problems <- err
					return
				}
				select {
				case messages <- message:
				case <-ctx.Done():
				}
			}
		}()
	}
	for {
		select {
		case message := <-messages:
			if last(message) {
				return nil
			}
		case err := <-problems:
			return err
		}
	}
}

func largeMessages(run scenario.Run) error {
	limit := kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: fmt.Sprint(scenario.LargeLimitBytes)}
	topic, err := created(run, "large", 1, limit)
	if err != nil {
		return err
	}
	for number := range 3 {
		if err := write(run, topic, to(0), none, kafka.Message{Value: scenario.Large(number)}); err != nil {
			return err
		}
	}
	ctx, cancel := limited()
	defer cancel()
	reader, err := partitionReader(run, nil, topic, 0, kafka.FirstOffset)
	if err != nil {
		return err
	}
	defer reader.Close()
	for number := range 3 {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if string(message.Value) != string(scenario.Large(number)) {
			return fmt.Errorf("message %d comes back as something else", number)
		}
	}
	err = write(run, run.Topic("none"), to(0), none, kafka.Message{Value: scenario.Large(0)})
	return scenario.Check(errors.Is(err, kafka.MessageSizeTooLarge), "too large a message: %v", err)
}

// wide fetches each partition by a request of its own: a thousand readers would be a thousand connections.
func wide(run scenario.Run) error {
	topic, err := created(run, "wide", scenario.Wide)
	if err != nil {
		return err
	}
	messages := messagesOf(0, scenario.Wide)
	for number := range messages {
		messages[number].Key = []byte(strconv.Itoa(number))
	}
	byKey := kafka.BalancerFunc(func(message kafka.Message, _ ...int) int {
		partition, _ := strconv.Atoi(string(message.Key))
		return partition
	})
	if err := write(run, topic, byKey, none, messages...); err != nil {
		return err
	}
	return withClient(run, func(ctx context.Context, client *kafka.Client) error {
		for number := range scenario.Wide {
			fetched, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: number, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
			if err == nil {
				err = fetched.Error
			}
			if err != nil {
				return err
			}
			record, err := fetched.Records.ReadRecord()
			if err != nil {
				return fmt.Errorf("partition %d has no record: %w", number, err)
			}
			value, err := kafka.ReadAll(record.Value)
			if err = errors.Join(err, scenario.Check(string(value) == scenario.Value(number), "partition %d has %q", number, value)); err != nil {
				return err
			}
			if _, err := fetched.Records.ReadRecord(); err == nil {
				return fmt.Errorf("partition %d has more than one record", number)
			}
		}
		return drop(ctx, client, topic)
	})
}

// seek has a reader for each partition, as kafka-go wants it; one that is not read from is paused.
func seek(run scenario.Run) error {
	topic := run.Topic("none")
	reader, err := partitionReader(run, nil, topic, 0, 0)
	if err != nil {
		return err
	}
	defer reader.Close()
	other, err := partitionReader(run, nil, topic, 1, 0)
	if err != nil {
		return err
	}
	defer other.Close()
	ctx, cancel := limited()
	defer cancel()
	take := func(from *kafka.Reader, count int) (offsets []int64, err error) {
		for len(offsets) < count && err == nil {
			var message kafka.Message
			if message, err = from.ReadMessage(ctx); err == nil {
				offsets = append(offsets, message.Offset)
			}
		}
		return offsets, err
	}
	if _, err := take(reader, 10); err != nil {
		return err
	}
	if err := reader.SetOffset(5); err != nil {
		return err
	}
	before, err := take(reader, 50)
	if err != nil {
		return err
	}
	end := time.Now().Add(time.Second)
	for count := 0; count < 50 || time.Now().Before(end); count++ {
		if _, err := take(other, 10); err != nil {
			return err
		}
		if count%50 == 49 {
			if err := other.SetOffset(0); err != nil {
				return err
			}
		}
	}
	after, err := take(reader, 50)
	if err = errors.Join(err, scenario.CheckPaused(slices.Concat(before, after))); err != nil {
		return err
	}
	last := reader.Offset() + reader.Lag() - 1
	if err := reader.SetOffset(last); err != nil {
		return err
	}
	found, err := take(reader, 1)
	return errors.Join(err, scenario.Check(slices.Equal(found, []int64{last}) && reader.Offset() == last+1 && reader.Lag() == 0,
		"%v come last before %d", found, last+1))
}

// restart goes on producing while the broker is stopped and started; the producer is not idempotent: a record may be there twice.
func restart(run scenario.Run) error {
	topic, err := created(run, "restart", scenario.Partitions)
	if err != nil {
		return err
	}
	group := run.Topic("restart")
	if err := write(run, topic, &kafka.Hash{}, none, messagesOf(0, scenario.RestartAfter)...); err != nil {
		return err
	}
	ctx, cancel := limited()
	defer cancel()
	reader := groupReader(run, topic, group)
	if err := errors.Join(takeAndCommit(ctx, reader, scenario.RestartCommitted), reader.Close()); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- writeSlowly(run, topic) }()
	if err := errors.Join(run.RestartBroker(), <-sent); err != nil {
		return err
	}
	total, err := committed(run, topic, group)
	if err = errors.Join(err, scenario.Check(total == scenario.RestartCommitted, "%d is committed after the restart", total)); err != nil {
		return err
	}
	seen := map[string]bool{}
	err = read(run, topic, func(message kafka.Message) bool {
		seen[string(message.Value)] = true
		return len(seen) == scenario.RestartRecords
	})
	if err != nil {
		return fmt.Errorf("%d records are there: %w", len(seen), err)
	}
	ends := int64(0)
	err = withClient(run, func(ctx context.Context, client *kafka.Client) (err error) {
		ends, err = endsOf(ctx, client, topic)
		return err
	})
	if err != nil {
		return err
	}
	wanted := int(ends) - scenario.RestartCommitted
	rest, err := countTheRest(run, topic, group, wanted)
	return errors.Join(err, scenario.Check(rest == wanted, "the group then has %d records instead of %d", rest, wanted))
}

// writeSlowly sends the rest of the records over a second or so: some of them are under way when the broker goes.
// kafka-go does not try again where a connection ends while it asks for the topic's partitions: its user does.
func writeSlowly(run scenario.Run, topic string) error {
	for number := scenario.RestartAfter; number < scenario.RestartRecords; number += 100 {
		var failed error
		err := scenario.Until("100 records", func() bool {
			failed = write(run, topic, &kafka.Hash{}, none, messagesOf(number, number+100)...)
			return failed == nil
		})
		if err != nil {
			return errors.Join(err, failed)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func writeAndRead(run scenario.Run, way scenario.SignIn) error {
	mechanism, err := mechanismOf(way)
	if err != nil {
		return err
	}
	run.Bootstrap = way.Bootstrap
	ctx, cancel := limited()
	defer cancel()
	// A Transport that is refused says only that it does not find the topic; a Dialer says why.
	dialer := &kafka.Dialer{Timeout: scenario.Deadline, TLS: way.TLS, SASLMechanism: mechanism}
	connection, err := dialer.DialContext(ctx, "tcp", way.Bootstrap)
	if err != nil {
		return err
	}
	defer connection.Close()
	transport := &kafka.Transport{TLS: way.TLS, SASL: mechanism}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(way.Bootstrap), Transport: transport}
	topic := run.Topic("none")
	records := kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("signed in"))})
	answer, err := client.Produce(ctx, &kafka.ProduceRequest{Topic: topic, Partition: 0, RequiredAcks: kafka.RequireAll, Records: records})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return err
	}
	reader, err := partitionReader(run, dialer, topic, 0, answer.BaseOffset)
	if err != nil {
		return err
	}
	defer reader.Close()
	message, err := reader.ReadMessage(ctx)
	return errors.Join(err, scenario.Check(string(message.Value) == "signed in", "%q was read", message.Value))
}

func mechanismOf(way scenario.SignIn) (sasl.Mechanism, error) {
	switch way.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: way.User, Password: way.Password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, way.User, way.Password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, way.User, way.Password)
	}
	return nil, nil
}

func refusedAsSuch(err error) bool { return errors.Is(err, kafka.SASLAuthenticationFailed) }
