// What the clients of 4.x have, or name otherwise than those of 2.x.
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

class Release extends Scenario {
    static Map<String, TopicDescription> describe(Admin admin, Collection<String> topics) throws Exception {
        return admin.describeTopics(topics).allTopicNames().get();
    }

    static List<String> groups(Admin admin) throws Exception {
        return admin.listGroups().all().get().stream().map(GroupListing::groupId).toList();
    }

    static String state(Admin admin, String group) throws Exception {
        return described(admin, group).groupState().toString();
    }

    private static ConsumerGroupDescription described(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    static void newProtocol() throws Exception {
        String topic = topic("lz4"), group = topic("new");
        List<Groups.Member> members = Groups.share(topic, group, Map.of("group.protocol", "consumer"));
        try (Admin admin = admin()) {
            ConsumerGroupDescription found = described(admin, group);
            check(found.type() == GroupType.CONSUMER && found.members().size() == 2, "the group is " + found);
        }
        Groups.end(members, topic, group);
    }

    static void shareGroup() throws Exception {
        String topic = create("shared", 1, Map.of()), group = topic("share");
        try (Admin admin = admin()) {
            AlterConfigOp earliest = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), List.of(earliest))).all().get();
        }
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (String value : values(SHARED)) producer.send(new ProducerRecord<>(topic, value));
        }
        List<String> accepted = new ArrayList<>();
        String released = null;
        Map<String, Short> counts = new HashMap<>();
        try (ShareConsumer<String, String> first = member(group); ShareConsumer<String, String> second = member(group)) {
            List<ShareConsumer<String, String>> members = List.of(first, second);
            for (var member : members) member.subscribe(List.of(topic));
            long end = System.currentTimeMillis() + DEADLINE_MS;
            while (accepted.size() < SHARED) {
                check(System.currentTimeMillis() < end, accepted.size() + " records were accepted in 60 s");
                for (var member : members) {
                    for (var record : member.poll(Duration.ofMillis(500))) {
                        counts.put(record.value(), record.deliveryCount().orElse((short) 0));
                        if (released == null) {
                            released = record.value();
                            member.acknowledge(record, AcknowledgeType.RELEASE);
                        } else {
                            accepted.add(record.value());
                            member.acknowledge(record, AcknowledgeType.ACCEPT);
                        }
                    }
                    member.commitSync().forEach((partition, problem) -> check(problem.isEmpty(), partition + ": " + problem));
                }
            }
        }
        check(sorted(accepted).equals(sorted(values(SHARED))), accepted.size() + " records were accepted");
        for (var count : counts.entrySet())
            check(count.getValue() == (count.getKey().equals(released) ? 2 : 1), count + " is not its count, where " + released + " was released");
    }

    private static ShareConsumer<String, String> member(String group) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "group.id", group, "share.acknowledgement.mode", "explicit");
        return new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }
}
