// Consumer groups: members that come, go, are killed and come back, and what the broker says of them.
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;

class Groups extends Scenario {
    /** One member, polling on a thread of its own: what it has, what it lost, and how often it was told. */
    static class Member extends Thread implements ConsumerRebalanceListener {
        final Set<Integer> partitions = ConcurrentHashMap.newKeySet();
        final Set<String> positions = ConcurrentHashMap.newKeySet();
        final List<Integer> lost = Collections.synchronizedList(new ArrayList<>());
        volatile int timesTold = 0;
        private volatile boolean stopping = false;
        volatile Throwable error;
        private final KafkaConsumer<String, String> consumer;

        Member(String topic, String group, Map<String, Object> settings) {
            consumer = consumer(group, settings);
            consumer.subscribe(List.of(topic), this);
            setDaemon(true);
            start();
        }

        public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
            if (revoked.isEmpty() || stopping) return;
            timesTold++;
            for (TopicPartition one : revoked) {
                lost.add(one.partition());
                partitions.remove(one.partition());
            }
        }

        public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
            if (assigned.isEmpty()) return;
            timesTold++;
            for (TopicPartition one : assigned) partitions.add(one.partition());
        }

        @Override
        public void run() {
            try (consumer) {
                while (!stopping) {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                    for (ConsumerRecord<String, String> record : records) positions.add(record.partition() + ":" + record.offset());
                    try {
                        if (!records.isEmpty()) consumer.commitSync();
                    } catch (CommitFailedException | RebalanceInProgressException again) {
                        // the next poll rejoins, and what was not committed comes again
                    }
                }
            } catch (Throwable thrown) {
                error = thrown;
            }
        }

        void end() throws Exception {
            stopping = true;
            join();
            if (error != null) throw new AssertionError(error);
        }
    }

    static void untilMembers(String what, List<Member> members, Condition condition) throws Exception {
        until(what, () -> {
            for (Member member : members) if (member.error != null) throw new AssertionError(member.error);
            return condition.holds();
        });
    }

    /** A first member that has all partitions, then a second one: both get half of them, all records are seen; the members. */
    static List<Member> share(String topic, String group, Map<String, Object> settings) throws Exception {
        List<Member> members = new ArrayList<>(List.of(new Member(topic, group, settings)));
        Member first = members.get(0);
        untilMembers("the first member's records", members, () -> first.positions.size() >= 1000);
        check(first.partitions.size() == PARTITIONS, "the first member alone does not have all partitions");
        Member second = new Member(topic, group, settings);
        members.add(second);
        untilMembers("half of the partitions each", members, () -> first.partitions.size() == 2 && second.partitions.size() == 2);
        untilMembers("all records", members, () -> {
            Set<String> seen = new HashSet<>(first.positions);
            seen.addAll(second.positions);
            return seen.size() == RECORDS;
        });
        return members;
    }

    /** They leave, and all was committed. */
    static void end(List<Member> members, String topic, String group) throws Exception {
        for (Member member : members) member.end();
        checkCommitted(topic, group, RECORDS);
    }

    private static Map<String, Object> assignor(String name) {
        return Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + name);
    }

    static void eager() throws Exception {
        List<Member> members = share(topic("gzip"), topic("two"), assignor("RangeAssignor"));
        check(members.get(0).lost.size() == PARTITIONS, "an eager rebalance took just " + members.get(0).lost);
        end(members, topic("gzip"), topic("two"));
    }

    static void cooperative() throws Exception {
        List<Member> members = share(topic("zstd"), topic("cooperative"), assignor("CooperativeStickyAssignor"));
        check(members.get(0).lost.size() == PARTITIONS / 2, "the first member lost " + members.get(0).lost);
        end(members, topic("zstd"), topic("cooperative"));
    }

    static Member named(String name) {
        return new Member(topic("snappy"), topic("static"), Map.of("group.instance.id", name, "session.timeout.ms", 30_000));
    }

    static void staticMember() throws Exception {
        List<Member> members = new ArrayList<>(List.of(named("one"), named("two")));
        untilMembers("two partitions each", members, () -> members.stream().allMatch(one -> one.partitions.size() == 2));
        Set<Integer> before = Set.copyOf(members.get(1).partitions);
        int told = members.get(0).timesTold;
        members.get(1).end();
        members.set(1, named("two"));
        untilMembers("the member's partitions", members, () -> members.get(1).partitions.size() == 2);
        Thread.sleep(4000);  // a rebalance would have reached the other member by its heartbeat, one in 3 s
        check(members.get(1).partitions.equals(before), "it had " + before + ", and has " + members.get(1).partitions);
        check(members.get(0).timesTold == told, "the other member saw a rebalance");
        for (Member member : members) member.end();
    }

    /** In a process of its own: never returns. */
    static void consumeUntilKilled(String topic, String group) {
        KafkaConsumer<String, String> consumer = consumer(group, Map.of());
        consumer.subscribe(List.of(topic));
        int count = 0;
        while (count < KILLED_AFTER) count += consumer.poll(Duration.ofSeconds(1)).count();
        consumer.commitSync();
        System.out.println("ready " + count);
        while (true) consumer.poll(Duration.ofSeconds(1));
    }

    static void killed() throws Exception {
        String topic = topic("lz4"), group = topic("killed");
        Process victim = new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "-cp", System.getProperty("java.class.path"),
            "Scenarios", "--bootstrap", bootstrap, topic, group).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        int before = Integer.parseInt(victim.inputReader().readLine().split(" ")[1]);
        victim.destroyForcibly().waitFor();
        try (KafkaConsumer<String, String> consumer = consumer(group, Map.of())) {
            consumer.subscribe(List.of(topic));
            int count = take(consumer, RECORDS - before, "the rest").size();
            check(count == RECORDS - before, count + " records came after the resume from " + before);
            consumer.commitSync();
        }
    }

    static void listed() throws Exception {
        try (Admin admin = admin()) {
            check(Release.groups(admin).contains(topic("two")), "the group is not listed");
            check(Release.state(admin, topic("two")).equals("Empty"), "the group is " + Release.state(admin, topic("two")));
        }
    }

    static void reset() throws Exception {
        try (Admin admin = admin()) {
            Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
            for (TopicPartition partition : partitions(topic("gzip"), PARTITIONS)) wanted.put(partition, new OffsetAndMetadata(7, "reset"));
            admin.alterConsumerGroupOffsets(topic("two"), wanted).all().get();
            var found = admin.listConsumerGroupOffsets(topic("two")).partitionsToOffsetAndMetadata().get();
            for (TopicPartition partition : wanted.keySet())
                check(found.get(partition).offset() == 7 && found.get(partition).metadata().equals("reset"), found.toString());
        }
    }
}
