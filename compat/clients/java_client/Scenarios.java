// The Java clients of Apache Kafka as a user would use them; the same list of scenarios, and the same lines on stdout, as the Python scripts.
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;

public class Scenarios extends Scenario {
    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[1];
        if (arguments.length == 4 && arguments[2].equals("--scenarios")) words = List.of(arguments[3].split(","));
        else if (arguments.length == 4) Groups.consumeUntilKilled(arguments[2], arguments[3]);
        scenario("create topic", Scenarios::createTopic);
        scenario("administer a topic", Scenarios::administer);
        for (String compression : COMPRESSIONS) scenario("produce " + compression, () -> produce(compression));
        scenario("idempotent producer", Scenarios::idempotent);
        scenario("messages of 5 MiB", Scenarios::largeMessages);
        scenario("1,000 partitions", Scenarios::wide);
        scenario("consume in a group of two with a rebalance", Groups::eager);
        scenario("consume in a group of two, cooperatively", Groups::cooperative);
        scenario("restart a static member", Groups::staticMember);
        scenario("commit, be killed, resume", Groups::killed);
        scenario("seek, pause, resume", Scenarios::seek);
        scenario("list and describe groups", Groups::listed);
        scenario("reset offsets", Groups::reset);
        scenario("offsets by time", Scenarios::byTime);
        scenario("transactions", Transactions::transactions);
        scenario("consume, transform, produce", Transactions::transform);
        scenario("consumer group of the new protocol", Release::newProtocol);
        scenario("share group", Release::shareGroup);
        scenario("restart the broker", Scenarios::restart);
        scenario("sign in", Scenarios::signIn);
        scenario("delete", Scenarios::delete);
        System.exit(failed ? 1 : 0);
    }

    static void createTopic() throws Exception {
        try (Admin admin = admin()) {
            List<NewTopic> topics = new ArrayList<>();
            for (String name : COMPRESSIONS) topics.add(new NewTopic(topic(name), PARTITIONS, (short) 1));
            admin.createTopics(topics).all().get();
            for (NewTopic topic : topics) untilDescribed(admin, topic.name(), PARTITIONS);
        }
    }

    static void administer() throws Exception {
        String topic = create("admin", 2, Map.of("retention.ms", "3600000"));
        try (Admin admin = admin()) {
            check(admin.listTopics().names().get().contains(topic), "the topic is not listed");
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            Callable<String> retention = () -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
            check(retention.call().equals("3600000"), "retention.ms is " + retention.call());
            AlterConfigOp longer = new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(longer))).all().get();
            until("the altered config", () -> retention.call().equals("7200000"));
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            untilDescribed(admin, topic, 5);
        }
        try {
            create("admin", 2, Map.of());
            throw new AssertionError("the topic was created twice");
        } catch (ExecutionException refused) {
            check(refused.getCause() instanceof TopicExistsException, "created twice: " + refused);
        }
        drop(topic);
    }

    static void produce(String compression) throws Exception {
        String topic = topic(compression);
        try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", compression))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < RECORDS; number++) {
                ProducerRecord<String, String> record = new ProducerRecord<>(topic, key(number), value(number));
                record.headers().add("number", Integer.toString(number).getBytes(StandardCharsets.UTF_8)).add("empty", null);
                sent.add(producer.send(record));
            }
            producer.flush();
            for (var future : sent) future.get(DEADLINE_MS, TimeUnit.MILLISECONDS);
        }
        Map<String, Integer> last = new HashMap<>();
        Set<Integer> found = new HashSet<>();
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of())) {
            consumer.assign(partitions(topic, PARTITIONS));
            for (ConsumerRecord<String, String> record : take(consumer, RECORDS, "reading back")) {
                int number = Integer.parseInt(new String(record.headers().lastHeader("number").value(), StandardCharsets.UTF_8));
                check(record.value().equals(value(number)) && record.key().equals(key(number)), "record " + number + " is not what was sent");
                check(last.getOrDefault(record.key(), -1) < number, "record " + number + " is out of order");
                check(record.headers().lastHeader("empty").value() == null, "a null header is not null");
                last.put(record.key(), number);
                check(found.add(number), "record " + number + " came twice");
            }
        }
        check(found.size() == RECORDS, found.size() + " records came back");
    }

    static void idempotent() throws Exception {
        String topic = create("idempotent", 1, Map.of());
        try (KafkaProducer<String, String> producer = producer(Map.of("enable.idempotence", "true"))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < RECORDS; number++) sent.add(producer.send(new ProducerRecord<>(topic, value(number))));
            for (int number = 0; number < RECORDS; number++)
                check(sent.get(number).get(DEADLINE_MS, TimeUnit.MILLISECONDS).offset() == number, "record " + number + " is not at its place");
        }
    }

    static void largeMessages() throws Exception {
        String topic = create("large", 1, Map.of("max.message.bytes", Integer.toString(LARGE_LIMIT)));
        try (KafkaProducer<String, String> producer = producer(Map.of("max.request.size", LARGE_LIMIT));
             KafkaConsumer<String, String> consumer = consumer(null, Map.of("max.partition.fetch.bytes", LARGE_LIMIT))) {
            for (int number = 0; number < 3; number++) producer.send(new ProducerRecord<>(topic, large(number))).get();
            consumer.assign(partitions(topic, 1));
            int number = 0;
            for (var record : take(consumer, 3, "three large messages")) check(record.value().equals(large(number++)), "what came back is something else");
            check(number == 3, number + " messages came back");
            producer.send(new ProducerRecord<>(topic("none"), large(0))).get();
            throw new AssertionError("too large a message was taken");
        } catch (ExecutionException refused) {
            check(refused.getCause() instanceof RecordTooLargeException, "too large a message: " + refused);
        }
    }

    static void wide() throws Exception {
        String topic = create("wide", WIDE, Map.of());
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < WIDE; number++) sent.add(producer.send(new ProducerRecord<>(topic, number, null, value(number))));
            for (var future : sent) future.get(DEADLINE_MS, TimeUnit.MILLISECONDS);
        }
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of())) {
            consumer.assign(partitions(topic, WIDE));
            Set<Integer> seen = new HashSet<>();
            for (var record : take(consumer, WIDE, "a record of each partition"))
                check(record.value().equals(value(record.partition())) && seen.add(record.partition()), "not one of each: " + record);
        }
        drop(topic);
    }

    static void seek() throws Exception {
        TopicPartition first = new TopicPartition(topic("none"), 0), other = new TopicPartition(topic("none"), 1);
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of("max.poll.records", 20))) {
            consumer.assign(List.of(first, other));
            take(consumer, 10, "a first few records");
            consumer.seek(first, 5);
            List<Long> offsets = new ArrayList<>();
            until("50 records", () -> { poll(consumer, offsets); return offsets.size() >= 50; });
            check(offsets.get(0) == 5, "after the seek comes " + offsets.get(0));
            int before = offsets.size();
            consumer.pause(List.of(first));
            consumer.seek(other, 0);
            Set<Integer> gave = new HashSet<>();
            for (int count = 0; count < 50; count++) gave.addAll(poll(consumer, offsets));
            check(gave.equals(Set.of(1)) && offsets.size() == before, "while paused came " + gave);
            consumer.resume(List.of(first));
            consumer.pause(List.of(other));
            until("the records after the pause", () -> { poll(consumer, offsets); return offsets.size() >= before + 50; });
            for (int number = 0; number < offsets.size(); number++) check(offsets.get(number) == number + 5, "around the pause came " + offsets);
            consumer.seekToEnd(List.of(first));
            long end = consumer.endOffsets(List.of(first)).get(first);
            check(consumer.position(first) == end, "at the end, " + end + ", the position is " + consumer.position(first));
        }
    }

    /** The partitions that gave something; what is from partition 0 goes to `offsets`. */
    static Set<Integer> poll(KafkaConsumer<String, String> consumer, List<Long> offsets) {
        Set<Integer> gave = new HashSet<>();
        for (var record : consumer.poll(Duration.ofMillis(20))) {
            gave.add(record.partition());
            if (record.partition() == 0) offsets.add(record.offset());
        }
        return gave;
    }

    static void byTime() {
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of())) {
            Map<TopicPartition, Long> beginning = new HashMap<>(), future = new HashMap<>();
            for (TopicPartition partition : partitions(topic("none"), PARTITIONS)) {
                beginning.put(partition, 0L);
                future.put(partition, System.currentTimeMillis() + 3_600_000);
            }
            check(consumer.offsetsForTimes(beginning).values().stream().allMatch(one -> one.offset() == 0), "time 0 is not the beginning");
            check(consumer.offsetsForTimes(future).values().stream().allMatch(Objects::isNull), "the future is not the end");
            long total = consumer.endOffsets(beginning.keySet()).values().stream().mapToLong(Long::longValue).sum();
            check(total == RECORDS, "the ends add up to " + total);
        }
    }

    static void restart() throws Exception {
        String topic = create("restart", PARTITIONS, Map.of());
        Map<String, Object> patient = Map.of("reconnect.backoff.max.ms", "500", "enable.idempotence", "true");
        try (KafkaProducer<String, String> producer = producer(patient);
             KafkaConsumer<String, String> consumer = consumer(topic("restart"), Map.of("max.poll.records", 100))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            send(producer, topic, 0, RESTART_AFTER, sent);
            for (var future : sent) future.get(DEADLINE_MS, TimeUnit.MILLISECONDS);
            consumer.subscribe(List.of(topic));
            Set<String> seen = new HashSet<>();
            take(consumer, RESTART_COMMITTED, "what was sent before the restart").forEach(record -> seen.add(record.value()));
            consumer.commitSync();
            var committed = consumer.committed(new HashSet<>(partitions(topic, PARTITIONS)));
            send(producer, topic, RESTART_AFTER, RESTART_RECORDS / 2, sent);  // some of them are under way when the broker goes
            restartBroker();
            send(producer, topic, RESTART_RECORDS / 2, RESTART_RECORDS, sent);
            for (var future : sent) future.get(2 * DEADLINE_MS, TimeUnit.MILLISECONDS);
            var after = consumer.committed(committed.keySet());
            check(after.equals(committed), committed + " was committed, and is now " + after);
            take(consumer, RESTART_RECORDS - seen.size(), "the rest of the records").forEach(record -> seen.add(record.value()));
            check(seen.equals(new HashSet<>(values(RESTART_RECORDS))), "the group saw " + seen.size() + " records");
        }
        List<String> found = read(topic, PARTITIONS, "read_uncommitted", RESTART_RECORDS);
        check(sorted(found).equals(sorted(values(RESTART_RECORDS))), found.size() + " records are there");
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int from, int to, List<Future<RecordMetadata>> sent) {
        for (int number = from; number < to; number++) sent.add(producer.send(new ProducerRecord<>(topic, key(number), value(number))));
    }

    static void signIn() throws Exception {
        signInBy("SSL", null);
        for (String mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) signInBy("SASL_PLAINTEXT", mechanism);
        signInBy("SASL_SSL", "PLAIN");
    }

    static void signInBy(String protocol, String mechanism) throws Exception {
        String topic = topic("none");
        Map<String, Object> settings = signingIn(protocol, mechanism, environment("COMPAT_PASSWORD"));
        long offset;
        try (KafkaProducer<String, String> producer = producer(settings)) {
            offset = producer.send(new ProducerRecord<>(topic, 0, null, "signed in")).get(DEADLINE_MS, TimeUnit.MILLISECONDS).offset();
        }
        try (KafkaConsumer<String, String> consumer = consumer(null, settings)) {
            consumer.assign(partitions(topic, 1));
            consumer.seek(partitions(topic, 1).get(0), offset);
            check(take(consumer, 1, "the record of " + protocol).get(0).value().equals("signed in"), "something else was read");
        }
        if (mechanism == null) return;
        try (KafkaProducer<String, String> refused = producer(signingIn(protocol, mechanism, "a wrong password"))) {
            refused.send(new ProducerRecord<>(topic, "refused")).get(DEADLINE_MS, TimeUnit.MILLISECONDS);
            throw new AssertionError("a wrong password is as good as the right one");
        } catch (ExecutionException reason) {
            check(reason.getCause() instanceof AuthenticationException, "it was refused with " + reason);
        }
    }

    private static Map<String, Object> signingIn(String protocol, String mechanism, String password) {
        Map<String, Object> settings = new HashMap<>(Map.of("security.protocol", protocol,
            "bootstrap.servers", secure("COMPAT_" + protocol, "the broker has no secure listeners here")));
        if (protocol.contains("SSL"))
            settings.putAll(Map.of("ssl.truststore.type", "PEM", "ssl.truststore.location", environment("COMPAT_CA")));
        if (mechanism != null) {
            String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            settings.putAll(Map.of("sasl.mechanism", mechanism, "sasl.jaas.config", String.format(
                "org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";", module, environment("COMPAT_USER"), password)));
        }
        return settings;
    }

    static void delete() throws Exception {
        try (Admin admin = admin()) {
            admin.deleteConsumerGroups(List.of(topic("two"))).all().get();
        }
        drop(Arrays.stream(COMPRESSIONS).map(Scenario::topic).toArray(String[]::new));
    }
}
