// Transactions: what is committed, what is aborted, who is fenced, and offsets that are committed with what was made of the records.
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.*;

class Transactions extends Scenario {
    static void transactions() throws Exception {
        String topic = create("transactions", 1, Map.of());
        Map<String, Object> settings = Map.of("transactional.id", topic("transactional"));
        try (KafkaProducer<String, String> first = producer(settings); KafkaProducer<String, String> second = producer(settings)) {
            first.initTransactions();
            for (String outcome : List.of("committed", "aborted", "again")) transact(first, topic, outcome);
            List<String> seen = read(topic, 1, "read_committed", 2 * TRANSACTION_RECORDS);
            check(seen.equals(values("committed", "again")), seen.size() + " records are seen read_committed");
            seen = read(topic, 1, "read_uncommitted", 3 * TRANSACTION_RECORDS);
            check(seen.equals(values("committed", "aborted", "again")), seen.size() + " records are seen read_uncommitted");
            second.initTransactions();
            try {
                transact(first, topic, "fenced");
                throw new AssertionError("the first producer is not fenced");
            } catch (KafkaException | ExecutionException fenced) {
                check(fences(fenced) || fences(fenced.getCause()), "it is not fenced but " + fenced);
            }
            transact(second, topic, "second");
        }
    }

    private static boolean fences(Throwable error) {
        return error instanceof ProducerFencedException || error instanceof InvalidProducerEpochException;
    }

    private static List<String> values(String... outcomes) {
        List<String> all = new ArrayList<>();
        for (String outcome : outcomes) for (int number = 0; number < TRANSACTION_RECORDS; number++) all.add(outcome + "-" + number);
        return all;
    }

    private static void transact(KafkaProducer<String, String> producer, String topic, String what) throws Exception {
        producer.beginTransaction();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String value : values(what)) sent.add(producer.send(new ProducerRecord<>(topic, value)));
        for (var future : sent) future.get(DEADLINE_MS, TimeUnit.MILLISECONDS);
        if (what.equals("aborted")) producer.abortTransaction();
        else producer.commitTransaction();
    }

    static void transform() throws Exception {
        String source = topic("gzip"), target = create("transformed", 1, Map.of()), group = topic("transform");
        int done = 0, transaction = 0;
        try (KafkaProducer<String, String> producer = producer(Map.of("transactional.id", topic("transformer")));
             KafkaConsumer<String, String> consumer = consumer(group, Map.of("isolation.level", "read_committed", "max.poll.records", 1000))) {
            producer.initTransactions();
            consumer.subscribe(List.of(source));
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (done < RECORDS) {
                check(System.currentTimeMillis() < end, done + " records were transformed in 60 s");
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
                if (records.isEmpty()) continue;
                producer.beginTransaction();
                for (var record : records) producer.send(new ProducerRecord<>(target, record.value().toUpperCase(Locale.ROOT)));
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (TopicPartition partition : records.partitions()) offsets.put(partition, new OffsetAndMetadata(consumer.position(partition)));
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (++transaction % 3 != 0) {
                    producer.commitTransaction();
                    done += records.count();
                    continue;
                }
                producer.abortTransaction();
                for (var entry : consumer.committed(consumer.assignment()).entrySet())
                    consumer.seek(entry.getKey(), entry.getValue() == null ? 0 : entry.getValue().offset());
            }
        }
        List<String> found = read(target, 1, "read_committed", RECORDS), wanted = values(RECORDS);
        wanted.replaceAll(value -> value.toUpperCase(Locale.ROOT));
        check(sorted(found).equals(sorted(wanted)), found.size() + " records were transformed");
        checkCommitted(source, group, RECORDS);
    }
}
