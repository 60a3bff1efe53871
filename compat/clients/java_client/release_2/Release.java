// What the clients of 2.x lack, or name otherwise than those of 4.x.
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;

class Release extends Scenario {
    static Map<String, TopicDescription> describe(Admin admin, Collection<String> topics) throws Exception {
        return admin.describeTopics(topics).all().get();
    }

    static List<String> groups(Admin admin) throws Exception {
        return admin.listConsumerGroups().all().get().stream().map(ConsumerGroupListing::groupId).collect(Collectors.toList());
    }

    static String state(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group).state().toString();
    }

    static void newProtocol() {
        throw new Skipped("the clients of 2.x have only the classic group protocol");
    }

    static void shareGroup() {
        throw new Skipped("the clients of 2.x have no share consumer");
    }
}
