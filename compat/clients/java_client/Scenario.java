// What the Java scenarios share: how they are named, reported and skipped, and clients, topics and records as each of them needs them.
import java.io.*;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

class Scenario {
    static final int RECORDS = 10_000, KEYS = 100, PARTITIONS = 4, KILLED_AFTER = 3_000;
    static final int WIDE = 1_000, LARGE = 5 * 1024 * 1024, LARGE_LIMIT = 6 * 1024 * 1024, TRANSACTION_RECORDS = 100, SHARED = 1_000;
    static final int RESTART_RECORDS = 5_000, RESTART_AFTER = 1_000, RESTART_COMMITTED = 500;
    static final long DEADLINE_MS = 60_000;
    static final String[] COMPRESSIONS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private static final String PADDING = "x".repeat(80);
    private static final String suffix = UUID.randomUUID().toString().substring(0, 8);
    private static final Map<String, String> missing = new HashMap<>();
    static String bootstrap;
    static List<String> words = List.of();
    static boolean failed = false;

    interface Work { void run() throws Exception; }

    interface Condition { boolean holds() throws Exception; }

    /** This release of the clients cannot do it; the message says why. */
    static class Skipped extends RuntimeException {
        Skipped(String why) { super(why); }
    }

    static {
        for (String line : environment("COMPAT_NOT_SERVED").split("\n")) {
            int colon = line.indexOf(": ");
            if (colon > 0) missing.put(line.substring(0, colon), line.substring(colon + 2));
        }
    }

    /** Do one, unless the broker does not serve it or it was not asked for; report it on stdout. */
    static void scenario(String name, Work work) {
        if (!words.isEmpty() && !name.equals("create topic") && words.stream().noneMatch(name::contains)) return;
        long started = System.nanoTime();
        String status = "passed", detail = "";
        try {
            if (missing.containsKey(name)) {
                status = "not served";
                detail = missing.get(name);
            } else work.run();
        } catch (Skipped reason) {
            status = "skipped";
            detail = reason.getMessage();
        } catch (Throwable error) {
            failed = true;
            status = "failed";
            StringWriter text = new StringWriter();
            error.printStackTrace(new PrintWriter(text));
            detail = text.toString();
        }
        detail = detail.replace("\\", "\\\\").replace("\"", "'").replace("\n", "\\n").replaceAll("\\p{Cntrl}", " ");
        System.out.printf(Locale.ROOT, "{\"scenario\": \"%s\", \"status\": \"%s\", \"seconds\": %.2f, \"detail\": \"%s\"}%n",
            name, status, (System.nanoTime() - started) / 1e9, detail);
    }

    static String environment(String name) { return System.getenv().getOrDefault(name, ""); }
    static String topic(String name) { return name + "-" + suffix; }
    static String value(int number) { return "value-" + number + "-" + PADDING; }
    static String key(int number) { return "key-" + number % KEYS; }
    static String large(int number) { return String.format("%07d.", number).repeat(LARGE / 8); }
    static void check(boolean condition, String message) { if (!condition) throw new AssertionError(message); }

    static List<String> values(int count) {
        List<String> all = new ArrayList<>();
        for (int number = 0; number < count; number++) all.add(value(number));
        return all;
    }

    static <T extends Comparable<T>> List<T> sorted(Collection<T> some) {
        List<T> all = new ArrayList<>(some);
        Collections.sort(all);
        return all;
    }

    static void until(String what, Condition condition) throws Exception {
        long end = System.currentTimeMillis() + DEADLINE_MS;
        while (!condition.holds()) {
            check(System.currentTimeMillis() < end, what + ": not within 60 s");
            Thread.sleep(10);
        }
    }

    static Admin admin() { return Admin.create(Map.of("bootstrap.servers", bootstrap)); }

    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest",
            "enable.auto.commit", "false", "max.poll.records", "500"));
        if (group != null) settings.put("group.id", group);
        if (!more.containsKey("group.protocol")) settings.put("session.timeout.ms", "6000");
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "acks", "all", "linger.ms", "5"));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    /** A topic, made and known; its name. */
    static String create(String name, int partitions, Map<String, String> config) throws Exception {
        String topic = topic(name);
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(config))).all().get();
            untilDescribed(admin, topic, partitions);
        }
        return topic;
    }

    /** So many partitions, each with a leader. */
    static void untilDescribed(Admin admin, String topic, int partitions) throws Exception {
        until(partitions + " partitions", () -> {
            try {
                var found = Release.describe(admin, List.of(topic)).get(topic).partitions();
                return found.size() == partitions && found.stream().allMatch(one -> one.leader() != null);
            } catch (ExecutionException unknown) {
                return false;
            }
        });
    }

    /** Topics are deleted, and no longer listed. */
    static void drop(String... topics) throws Exception {
        try (Admin admin = admin()) {
            admin.deleteTopics(List.of(topics)).all().get();
            until("the topics' end", () -> Collections.disjoint(admin.listTopics().names().get(), List.of(topics)));
        }
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int number = 0; number < count; number++) all.add(new TopicPartition(topic, number));
        return all;
    }

    /** At least as many records as are wanted. */
    static List<ConsumerRecord<String, String>> take(Consumer<String, String> consumer, int wanted, String what) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long end = System.currentTimeMillis() + DEADLINE_MS;
        while (found.size() < wanted) {
            check(System.currentTimeMillis() < end, what + ": just " + found.size() + " in 60 s");
            consumer.poll(Duration.ofMillis(500)).forEach(found::add);
        }
        return found;
    }

    /** What the partitions of a topic have from their beginning; it looks a little longer than until the last one. */
    static List<String> read(String topic, int partitions, String isolation, int wanted) {
        try (KafkaConsumer<String, String> consumer = consumer(null, Map.of("isolation.level", isolation))) {
            consumer.assign(partitions(topic, partitions));
            List<String> values = new ArrayList<>();
            take(consumer, wanted, "what is seen " + isolation).forEach(record -> values.add(record.value()));
            consumer.poll(Duration.ofSeconds(1)).forEach(record -> values.add(record.value()));
            return values;
        }
    }

    static void checkCommitted(String topic, String group, long wanted) {
        try (KafkaConsumer<String, String> consumer = consumer(group, Map.of())) {
            var committed = consumer.committed(new HashSet<>(partitions(topic, PARTITIONS)));
            long total = committed.values().stream().filter(Objects::nonNull).mapToLong(OffsetAndMetadata::offset).sum();
            check(total == wanted, committed + " was committed");
        }
    }

    /** Back when the broker is there again, on the same port and data. */
    static void restartBroker() throws IOException {
        String[] address = secure("COMPAT_CONTROL", "nobody is there to restart the broker").split(":");
        try (Socket control = new Socket(address[0], Integer.parseInt(address[1]))) {
            control.getOutputStream().write("restart\n".getBytes(StandardCharsets.US_ASCII));
            String answer = new BufferedReader(new InputStreamReader(control.getInputStream(), StandardCharsets.UTF_8)).readLine();
            check("restarted".equals(answer), "the broker was not restarted, but " + answer);
        }
    }

    /** The address in that variable. */
    static String secure(String variable, String otherwise) {
        if (environment(variable).isEmpty()) throw new Skipped(otherwise + " (" + variable + " is not set)");
        return environment(variable);
    }
}
