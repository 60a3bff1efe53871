package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"pykbroker/scenario"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
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

// produceNumbers sends the records of the numbers from first to before, each with its key, idempotently.
func produceNumbers(ctx context.Context, run scenario.Run, topic string, first, before int) error {
	producer, err := client(run, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	var records []*kgo.Record
	for number := first; number < before; number++ {
		records = append(records, kgo.KeyStringRecord(scenario.Key(number), scenario.Value(number)))
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

// take reads the partitions from these offsets on until there are as many records as are wanted.
func take(ctx context.Context, run scenario.Run, topic string, from map[int32]kgo.Offset, wanted int, options ...kgo.Opt) ([]*kgo.Record, error) {
	reader, err := client(run, append([]kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})}, options...)...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return takeMore(ctx, reader, wanted)
}

func takeMore(ctx context.Context, reader *kgo.Client, wanted int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < wanted {
		fetches := reader.PollRecords(ctx, wanted)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d records came: %w", len(records), err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func valuesOf(records []*kgo.Record) []string {
	var values []string
	for _, record := range records {
		values = append(values, string(record.Value))
	}
	return values
}

func idempotent(run scenario.Run) error {
	topic, err := created(run, "idempotent", 1, nil)
	if err != nil {
		return err
	}
	producer, err := client(run, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(10_000))
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := limited()
	defer cancel()
	var wrong atomic.Pointer[error]
	for number := range int64(scenario.Records) {
		producer.Produce(ctx, kgo.StringRecord(scenario.Value(int(number))), func(record *kgo.Record, err error) {
			if err == nil {
				err = scenario.Check(record.Offset == number, "record %d is at offset %d", number, record.Offset)
			}
			if err != nil {
				wrong.Store(&err)
			}
		})
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	if err := wrong.Load(); err != nil {
		return *err
	}
	return nil
}

func largeMessages(run scenario.Run) error {
	topic, err := created(run, "large", 1, map[string]*string{"max.message.bytes": new(fmt.Sprint(scenario.LargeLimitBytes))})
	if err != nil {
		return err
	}
	producer, err := client(run, kgo.ProducerBatchMaxBytes(scenario.LargeLimitBytes), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := limited()
	defer cancel()
	for number := range 3 {
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: scenario.Large(number)}).FirstErr(); err != nil {
			return err
		}
	}
	found, err := take(ctx, run, topic, map[int32]kgo.Offset{0: kgo.NewOffset().At(0)}, 3, kgo.FetchMaxPartitionBytes(scenario.LargeLimitBytes))
	if err != nil {
		return err
	}
	for number, record := range found {
		if string(record.Value) != string(scenario.Large(number)) {
			return fmt.Errorf("message %d comes back as something else", number)
		}
	}
	err = producer.ProduceSync(ctx, &kgo.Record{Topic: run.Topic("none"), Value: scenario.Large(0)}).FirstErr()
	return scenario.Check(errors.Is(err, kerr.MessageTooLarge), "too large a message: %v", err)
}

func wide(run scenario.Run) error {
	topic, err := created(run, "wide", scenario.Wide, nil)
	if err != nil {
		return err
	}
	producer, err := client(run, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer producer.Close()
	ctx, cancel := limited()
	defer cancel()
	var records []*kgo.Record
	from := map[int32]kgo.Offset{}
	for number := range int32(scenario.Wide) {
		records = append(records, &kgo.Record{Topic: topic, Partition: number, Value: []byte(scenario.Value(int(number)))})
		from[number] = kgo.NewOffset().At(0)
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	found, err := take(ctx, run, topic, from, scenario.Wide)
	if err != nil {
		return err
	}
	for _, record := range found {
		if string(record.Value) != scenario.Value(int(record.Partition)) {
			return fmt.Errorf("partition %d has the record of another one", record.Partition)
		}
	}
	if err := scenario.CheckValues(valuesOf(found), scenario.Wide, scenario.Unchanged); err != nil {
		return err
	}
	return withAdmin(run, func(ctx context.Context, admin *kadm.Client) error { return drop(ctx, admin, topic) })
}

func seek(run scenario.Run) error {
	topic := run.Topic("none")
	both := map[int32]kgo.Offset{0: kgo.NewOffset().At(0), 1: kgo.NewOffset().At(0)}
	reader, err := client(run, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: both}), kgo.FetchMaxPartitionBytes(4096))
	if err != nil {
		return err
	}
	defer reader.Close()
	ctx, cancel := limited()
	defer cancel()
	if _, err := takeMore(ctx, reader, 10); err != nil {
		return err
	}
	to := func(partition int32, offset int64) {
		reader.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}})
	}
	var offsets []int64
	poll := func(ctx context.Context, wanted int) (gave map[int32]bool, err error) {
		gave = map[int32]bool{}
		for len(offsets) < wanted && ctx.Err() == nil {
			fetches := reader.PollRecords(ctx, 20)
			if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return gave, err
			}
			for _, record := range fetches.Records() {
				gave[record.Partition] = true
				if record.Partition == 0 {
					offsets = append(offsets, record.Offset)
				}
			}
		}
		return gave, nil
	}
	to(0, 5)
	if _, err := poll(ctx, 50); err != nil {
		return err
	}
	count := len(offsets)
	reader.PauseFetchPartitions(map[string][]int32{topic: {0}})
	to(1, 0)
	second, stop := context.WithTimeout(ctx, time.Second)
	gave, err := poll(second, scenario.Records)
	stop()
	if err = errors.Join(err, scenario.Check(len(gave) == 1 && gave[1] && len(offsets) == count, "while paused came %v", gave)); err != nil {
		return err
	}
	reader.ResumeFetchPartitions(map[string][]int32{topic: {0}})
	if _, err := poll(ctx, count+50); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), scenario.CheckPaused(offsets)); err != nil {
		return err
	}
	end := int64(0)
	err = withAdmin(run, func(ctx context.Context, admin *kadm.Client) error {
		ends, err := admin.ListEndOffsets(ctx, topic)
		one, _ := ends.Lookup(topic, 0)
		end = one.Offset
		return err
	})
	if err != nil {
		return err
	}
	reader.PauseFetchPartitions(map[string][]int32{topic: {1}})
	to(0, end-1)
	last, err := takeMore(ctx, reader, 1)
	return errors.Join(err, scenario.Check(err != nil || last[0].Offset == end-1, "%v come last before %d", last, end))
}

// linesOf are the values of a topic of one partition under an isolation level; a little longer is read than until the last one.
func linesOf(run scenario.Run, topic string, isolation kgo.IsolationLevel, wanted int) ([]string, error) {
	ctx, cancel := limited()
	defer cancel()
	from := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}
	reader, err := client(run, kgo.FetchIsolationLevel(isolation), kgo.ConsumePartitions(from))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	found, err := takeMore(ctx, reader, wanted)
	if err != nil {
		return nil, err
	}
	more, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	return valuesOf(append(found, reader.PollFetches(more).Records()...)), nil
}

func transactions(run scenario.Run) error {
	topic, err := created(run, "transactions", 1, nil)
	if err != nil {
		return err
	}
	ctx, cancel := limited()
	defer cancel()
	transactional := []kgo.Opt{kgo.TransactionalID(run.Topic("transactional")), kgo.DefaultProduceTopic(topic)}
	first, err := client(run, transactional...)
	if err != nil {
		return err
	}
	defer first.Close()
	for _, outcome := range scenario.TransactionOutcomes {
		if err := transact(ctx, first, outcome); err != nil {
			return fmt.Errorf("%s: %w", outcome, err)
		}
	}
	for isolation, outcomes := range map[kgo.IsolationLevel][]string{
		kgo.ReadCommitted(): {"committed", "again"}, kgo.ReadUncommitted(): scenario.TransactionOutcomes,
	} {
		seen, err := linesOf(run, topic, isolation, len(outcomes)*scenario.TransactionRecords)
		if err = errors.Join(err, scenario.CheckTransactions(seen, outcomes...)); err != nil {
			return err
		}
	}
	second, err := client(run, transactional...)
	if err != nil {
		return err
	}
	defer second.Close()
	if _, _, err := second.ProducerID(ctx); err != nil {
		return err
	}
	err = transact(ctx, first, "fenced")
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.InvalidTxnState) {
		return fmt.Errorf("the first producer is not fenced: %w", err)
	}
	return transact(ctx, second, "second")
}

func transact(ctx context.Context, producer *kgo.Client, outcome string) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	var records []*kgo.Record
	for number := range scenario.TransactionRecords {
		records = append(records, kgo.StringRecord(scenario.TransactionValue(outcome, number)))
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return producer.EndTransaction(ctx, kgo.TransactionEndTry(outcome != "aborted"))
}

// transform aborts every third transaction; the session then goes back to what is committed.
func transform(run scenario.Run) error {
	source, group := run.Topic("gzip"), run.Topic("transform")
	target, err := created(run, "transformed", 1, nil)
	if err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(run.Bootstrap), kgo.TransactionalID(run.Topic("transformer")), kgo.DefaultProduceTopic(target),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(source), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := limited()
	defer cancel()
	for done, transaction := 0, 1; done < scenario.Records; transaction++ {
		fetches := session.PollRecords(ctx, 1000)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", done, err)
		}
		if err := session.Begin(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			value := strings.ToUpper(string(record.Value))
			session.Produce(ctx, kgo.StringRecord(value), nil)
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(transaction%3 != 0))
		if err != nil {
			return err
		}
		if committed {
			done += fetches.NumRecords()
		}
	}
	found, err := linesOf(run, target, kgo.ReadCommitted(), scenario.Records)
	if err = errors.Join(err, scenario.CheckValues(found, scenario.Records, strings.ToUpper)); err != nil {
		return err
	}
	total, err := committed(run, source, group)
	return errors.Join(err, scenario.Check(total == scenario.Records, "%d was committed", total))
}

// restart goes on producing while the broker is stopped and started.
func restart(run scenario.Run) error {
	topic, err := created(run, "restart", scenario.Partitions, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*scenario.Deadline)
	defer cancel()
	if err := produceNumbers(ctx, run, topic, 0, scenario.RestartAfter); err != nil {
		return err
	}
	group := run.Topic("restart")
	reader, err := consumer(run, topic, group)
	if err != nil {
		return err
	}
	defer reader.Close()
	var seen []*kgo.Record
	for len(seen) < scenario.RestartCommitted {
		fetches := reader.PollRecords(ctx, scenario.RestartCommitted-len(seen))
		if err := fetches.Err(); err != nil {
			return err
		}
		seen = append(seen, fetches.Records()...)
	}
	if err := reader.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- produceSlowly(ctx, run, topic) }()
	if err := errors.Join(run.RestartBroker(), <-sent); err != nil {
		return err
	}
	total, err := committed(run, topic, group)
	if err = errors.Join(err, scenario.Check(total == scenario.RestartCommitted, "%d is committed after the restart", total)); err != nil {
		return err
	}
	for len(seen) < scenario.RestartRecords {
		fetches := reader.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return fmt.Errorf("%d records are there: %w", len(seen), fetches.Err())
		}
		seen = append(seen, fetches.Records()...)
	}
	return scenario.CheckValues(valuesOf(seen), scenario.RestartRecords, scenario.Unchanged)
}

// produceSlowly sends the rest of the records over a second or so: some of them are under way when the broker goes.
func produceSlowly(ctx context.Context, run scenario.Run, topic string) error {
	producer, err := client(run, kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	var failed atomic.Pointer[error]
	for number := scenario.RestartAfter; number < scenario.RestartRecords; number++ {
		producer.Produce(ctx, kgo.KeyStringRecord(scenario.Key(number), scenario.Value(number)), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
		if number%40 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func writeAndRead(run scenario.Run, way scenario.SignIn) error {
	options := []kgo.Opt{kgo.SeedBrokers(way.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	switch way.Mechanism {
	case "PLAIN":
		options = append(options, kgo.SASL(plain.Auth{User: way.User, Pass: way.Password}.AsMechanism()))
	case "SCRAM-SHA-256":
		options = append(options, kgo.SASL(scram.Auth{User: way.User, Pass: way.Password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		options = append(options, kgo.SASL(scram.Auth{User: way.User, Pass: way.Password}.AsSha512Mechanism()))
	}
	if way.TLS != nil {
		options = append(options, kgo.DialTLSConfig(way.TLS))
	}
	ctx, cancel := limited()
	defer cancel()
	producer, err := client(run, options...)
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.Ping(ctx); err != nil {
		return err
	}
	written, err := producer.ProduceSync(ctx, &kgo.Record{Topic: run.Topic("none"), Value: []byte("signed in")}).First()
	if err != nil {
		return err
	}
	found, err := take(ctx, run, written.Topic, map[int32]kgo.Offset{0: kgo.NewOffset().At(written.Offset)}, 1, options...)
	return errors.Join(err, scenario.Check(err != nil || string(found[0].Value) == "signed in", "%v was read", found))
}

func refusedAsSuch(err error) bool { return errors.Is(err, kerr.SaslAuthenticationFailed) }
