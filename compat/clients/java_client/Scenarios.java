// The Java clients of Apache Kafka 4.3 as a user would use them; the same list of scenarios, and the same lines on stdout, as the Python scripts.
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Scenarios {
    static final int RECORDS = 10_000, KEYS = 100, PARTITIONS = 4, KILLED_AFTER = 3_000;
    static final long DEADLINE_MS = 60_000;
    static final String[] COMPRESSIONS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final String PADDING = "x".repeat(80);
    static String bootstrap, suffix = UUID.randomUUID().toString().substring(0, 8);
    static boolean failed = false;

    interface Work { void run() throws Exception; }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[1];
        if (arguments.length > 2) {
            consumeUntilKilled(arguments[2], arguments[3]);
            return;
        }
        scenario("create topic", Scenarios::createTopic);
        for (String compression : COMPRESSIONS) scenario("produce " + compression, () -> produce(compression));
        scenario("consume in a group of two with a rebalance", Scenarios::groupOfTwo);
        scenario("commit, be killed, resume", Scenarios::killed);
        scenario("list and describe groups", Scenarios::groups);
        scenario("reset offsets", Scenarios::reset);
        scenario("offsets by time", Scenarios::byTime);
        scenario("delete", Scenarios::delete);
        System.exit(failed ? 1 : 0);
    }

    static void scenario(String name, Work work) {
        long started = System.nanoTime();
        String status = "passed", detail = "";
        try {
            work.run();
        } catch (Throwable error) {
            failed = true;
            status = "failed";
            java.io.StringWriter text = new java.io.StringWriter();
            error.printStackTrace(new java.io.PrintWriter(text));
            detail = text.toString().replace("\\", "\\\\").replace("\"", "'").replace("\n", "\\n").replace("\t", " ");
        }
        System.out.printf(Locale.ROOT, "{\"scenario\": \"%s\", \"status\": \"%s\", \"seconds\": %.2f, \"detail\": \"%s\"}%n",
            name, status, (System.nanoTime() - started) / 1e9, detail);
    }

    static String topic(String name) { return name + "-" + suffix; }
    static String value(int number) { return "value-" + number + "-" + PADDING; }
    static String key(int number) { return "key-" + number % KEYS; }
    static void check(boolean condition, String message) { if (!condition) throw new AssertionError(message); }

    static Admin admin() { return Admin.create(Map.of("bootstrap.servers", bootstrap)); }

    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest",
            "enable.auto.commit", "false", "session.timeout.ms", "6000", "max.poll.records", "500"));
        if (group != null) settings.put("group.id", group);
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static void createTopic() throws Exception {
        try (Admin admin = admin()) {
            List<NewTopic> topics = new ArrayList<>();
            for (String name : COMPRESSIONS) topics.add(new NewTopic(topic(name), PARTITIONS, (short) 1));
            admin.createTopics(topics).all().get();
            for (TopicDescription described : admin.describeTopics(topics.stream().map(NewTopic::name).toList()).allTopicNames().get().values())
                check(described.partitions().size() == PARTITIONS, described.toString());
        }
    }

    static void produce(String compression) throws Exception {
        String topic = topic(compression);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap, "compression.type", compression, "linger.ms", "5"), new StringSerializer(), new StringSerializer())) {
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
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
            List<TopicPartition> partitions = new ArrayList<>();
            for (int number = 0; number < PARTITIONS; number++) partitions.add(new TopicPartition(topic, number));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (found.size() < RECORDS && System.currentTimeMillis() < end)
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
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

    static class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        final Set<String> positions;
        volatile int assigned = 0;
        volatile boolean stopping = false;
        volatile Throwable error;

        Member(String topic, String group, String assignor, Set<String> positions) {
            this.positions = positions;
            consumer = consumer(group, Map.of("partition.assignment.strategy", assignor));
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) { assigned = consumer.assignment().size(); }
                public void onPartitionsAssigned(Collection<TopicPartition> given) { assigned = consumer.assignment().size(); }
            });
        }

        public void run() {
            try {
                while (!stopping) {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                    for (ConsumerRecord<String, String> record : records) positions.add(record.partition() + ":" + record.offset());
                    assigned = consumer.assignment().size();
                    try {
                        if (!records.isEmpty()) consumer.commitSync();
                    } catch (CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException again) {
                        // the next poll rejoins, and what was not committed comes again
                    }
                }
                consumer.close();
            } catch (Throwable thrown) {
                error = thrown;
            }
        }
    }

    static void groupOfTwo() throws Exception {
        for (String assignor : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
            String group = topic("two-" + assignor), name = "org.apache.kafka.clients.consumer." + assignor;
            Set<String> positions = java.util.concurrent.ConcurrentHashMap.newKeySet();
            Member first = new Member(topic("gzip"), group, name, positions), second = new Member(topic("gzip"), group, name, positions);
            first.start();
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (positions.size() < 1000 && System.currentTimeMillis() < end) Thread.sleep(5);
            second.start();
            while ((positions.size() < RECORDS || first.assigned != 2 || second.assigned != 2) && System.currentTimeMillis() < end) {
                check(first.error == null && second.error == null, first.error + " " + second.error);
                Thread.sleep(5);
            }
            check(positions.size() == RECORDS && first.assigned == 2 && second.assigned == 2,
                positions.size() + " records, shared " + first.assigned + " and " + second.assigned + " with " + assignor);
            first.stopping = second.stopping = true;
            first.join();
            second.join();
        }
    }

    static void consumeUntilKilled(String topic, String group) {
        KafkaConsumer<String, String> consumer = consumer(group, Map.of("max.poll.records", "500"));
        consumer.subscribe(List.of(topic));
        int count = 0;
        while (count < KILLED_AFTER) count += consumer.poll(Duration.ofSeconds(1)).count();
        consumer.commitSync();
        System.out.println("ready " + count);
        while (true) consumer.poll(Duration.ofSeconds(1)).count();
    }

    static void killed() throws Exception {
        String topic = topic("lz4"), group = topic("killed");
        Process victim = new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "-cp", System.getProperty("java.class.path"),
            System.getProperty("scenarios.source"), "--bootstrap", bootstrap, topic, group).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        int before = Integer.parseInt(victim.inputReader().readLine().split(" ")[1]);
        victim.destroyForcibly().waitFor();
        int count = 0;
        try (KafkaConsumer<String, String> consumer = consumer(group, Map.of())) {
            consumer.subscribe(List.of(topic));
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (count < RECORDS - before && System.currentTimeMillis() < end) count += consumer.poll(Duration.ofMillis(500)).count();
            consumer.commitSync();
        }
        check(count == RECORDS - before, count + " records came after the resume from " + before);
    }

    static void groups() throws Exception {
        try (Admin admin = admin()) {
            String group = topic("two-RangeAssignor");
            check(admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals(group)), "the group is not listed");
            String state = admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString();
            check(state.equals("Empty"), "the group is " + state);
        }
    }

    static void reset() throws Exception {
        try (Admin admin = admin()) {
            String group = topic("two-RangeAssignor");
            Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
            for (int number = 0; number < PARTITIONS; number++) wanted.put(new TopicPartition(topic("gzip"), number), new OffsetAndMetadata(7, "reset"));
            admin.alterConsumerGroupOffsets(group, wanted).all().get();
            var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (TopicPartition partition : wanted.keySet())
                check(found.get(partition).offset() == 7 && found.get(partition).metadata().equals("reset"), found.toString());
        }
    }

    static void byTime() {
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of())) {
            Map<TopicPartition, Long> beginning = new HashMap<>(), future = new HashMap<>();
            for (int number = 0; number < PARTITIONS; number++) {
                beginning.put(new TopicPartition(topic("none"), number), 0L);
                future.put(new TopicPartition(topic("none"), number), System.currentTimeMillis() + 3_600_000);
            }
            check(consumer.offsetsForTimes(beginning).values().stream().allMatch(one -> one.offset() == 0), "time 0 is not the beginning");
            check(consumer.offsetsForTimes(future).values().stream().allMatch(Objects::isNull), "the future is not the end");
            long total = consumer.endOffsets(beginning.keySet()).values().stream().mapToLong(Long::longValue).sum();
            check(total == RECORDS, "the ends add up to " + total);
        }
    }

    static void delete() throws Exception {
        try (Admin admin = admin()) {
            admin.deleteConsumerGroups(List.of(topic("two-RangeAssignor"))).all().get();
            List<String> topics = Arrays.stream(COMPRESSIONS).map(Scenarios::topic).toList();
            admin.deleteTopics(topics).all().get();
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (admin.listTopics().names().get().stream().anyMatch(topics::contains)) {
                check(System.currentTimeMillis() < end, "the topics are still listed");
                Thread.sleep(50);
            }
        }
    }
}
