// Writes groups.json: subscriptions and assignments in the bytes of Kafka's own Java client, and the divisions that its assignors
// make of random groups. Run with kafka-clients 4.4.0 and its runtime dependencies on the class path:
//   java -cp 'lib/*' GoldenGroups.java > groups.json
// The file is never written anew; further cases go into a further file.

import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.clients.consumer.internals.*;
import org.apache.kafka.common.TopicPartition;

public class GoldenGroups {
    static final Random random = new Random(20);

    static String hex(ByteBuffer bytes) {
        StringBuilder out = new StringBuilder();
        for (ByteBuffer b = bytes.duplicate(); b.hasRemaining(); ) out.append(String.format("%02x", b.get()));
        return out.toString();
    }

    static String text(String s) { return s == null ? "null" : "\"" + s + "\""; }

    static String list(Stream<String> items) { return items.collect(Collectors.joining(",", "[", "]")); }

    static String partitions(Collection<TopicPartition> partitions) {
        Map<String, List<Integer>> topics = new TreeMap<>();
        for (TopicPartition p : partitions) topics.computeIfAbsent(p.topic(), t -> new ArrayList<>()).add(p.partition());
        return list(topics.entrySet().stream().map(e ->
            "{\"topic\":" + text(e.getKey()) + ",\"partitions\":" + list(e.getValue().stream().sorted().map(String::valueOf)) + "}"));
    }

    static List<TopicPartition> tps(Object... of) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < of.length; i += 2) all.add(new TopicPartition((String) of[i], (Integer) of[i + 1]));
        return all;
    }

    static String subscription(int version, Subscription s) {
        ByteBuffer userData = s.userData();
        return "{\"version\":" + version + ",\"topics\":" + list(s.topics().stream().map(GoldenGroups::text))
            + ",\"userData\":" + (userData == null ? "null" : text(hex(userData)))
            + ",\"owned\":" + partitions(s.ownedPartitions()) + ",\"generationId\":" + s.generationId().orElse(-1)
            + ",\"rackId\":" + text(s.rackId().orElse(null))
            + ",\"bytes\":" + text(hex(ConsumerProtocol.serializeSubscription(s, (short) version))) + "}";
    }

    static String assignment(int version, Assignment a) {
        return "{\"version\":" + version + ",\"partitions\":" + partitions(a.partitions())
            + ",\"userData\":" + (a.userData() == null ? "null" : text(hex(a.userData())))
            + ",\"bytes\":" + text(hex(ConsumerProtocol.serializeAssignment(a, (short) version))) + "}";
    }

    record Member(String id, String instanceId, List<String> topics, List<TopicPartition> owned, int generation) {}

    static String division(String name, ConsumerPartitionAssignor assignor, Map<String, Integer> counts, List<Member> members) {
        Map<String, Subscription> subscriptions = new HashMap<>();
        for (Member m : members) {
            Subscription s = new Subscription(m.topics, null, m.owned, m.generation, Optional.empty());
            s.setGroupInstanceId(Optional.ofNullable(m.instanceId));
            subscriptions.put(m.id, s);
        }
        Map<String, List<TopicPartition>> result = ((AbstractPartitionAssignor) assignor).assign(counts, subscriptions);
        return text(name) + ":{" + new TreeMap<>(result).entrySet().stream()
            .map(e -> text(e.getKey()) + ":" + partitions(e.getValue())).collect(Collectors.joining(",")) + "}";
    }

    static String group(Map<String, Integer> counts, List<Member> members) {
        return "{\"partitionsOf\":{" + counts.entrySet().stream().map(e -> text(e.getKey()) + ":" + e.getValue()).collect(Collectors.joining(","))
            + "},\"members\":" + list(members.stream().map(m -> "{\"memberId\":" + text(m.id) + ",\"instanceId\":" + text(m.instanceId)
                + ",\"topics\":" + list(m.topics.stream().map(GoldenGroups::text)) + ",\"owned\":" + partitions(m.owned) + ",\"generationId\":" + m.generation + "}"))
            + "," + division("range", new RangeAssignor(), counts, members)
            + "," + division("roundrobin", new RoundRobinAssignor(), counts, members)
            + "," + division("sticky", new StickyAssignor(), counts, members)
            + "," + division("cooperative-sticky", new CooperativeStickyAssignor(), counts, members) + "}";
    }

    static String randomGroup(boolean equal) {
        Map<String, Integer> counts = new TreeMap<>();
        for (int t = 1 + random.nextInt(4); t > 0; t--) counts.put("t" + t, 1 + random.nextInt(9));
        List<String> all = new ArrayList<>(counts.keySet());
        List<Member> members = new ArrayList<>();
        List<TopicPartition> free = new ArrayList<>();
        counts.forEach((t, n) -> { for (int p = 0; p < n; p++) free.add(new TopicPartition(t, p)); });
        Collections.shuffle(free, random);
        for (int m = 1 + random.nextInt(6); m > 0; m--) {
            List<String> topics = equal ? all : all.stream().filter(t -> random.nextInt(3) > 0).collect(Collectors.toList());
            List<TopicPartition> owned = new ArrayList<>();
            for (int i = random.nextInt(5); i > 0 && !free.isEmpty(); i--) {
                TopicPartition tp = free.remove(free.size() - 1);
                if (topics.contains(tp.topic())) owned.add(tp);
            }
            members.add(new Member("m" + random.nextInt(1000) + "-" + m, random.nextInt(3) == 0 ? "i" + random.nextInt(1000) + "-" + m : null, topics, owned, owned.isEmpty() ? -1 : 7));
        }
        return group(counts, members);
    }

    public static void main(String[] args) {
        List<String> subscriptions = new ArrayList<>(), assignments = new ArrayList<>(), groups = new ArrayList<>();
        ByteBuffer data = ByteBuffer.wrap(new byte[] {1, 2, -1});
        for (int version = 0; version <= 3; version++) {
            subscriptions.add(subscription(version, new Subscription(List.of())));
            subscriptions.add(subscription(version, new Subscription(List.of("orders", "payments"))));
            subscriptions.add(subscription(version, new Subscription(List.of("a", "ü-名"), data, tps("a", 0, "a", 2, "b", 1), 42, Optional.of("rack-1"))));
            assignments.add(assignment(version, new Assignment(List.of())));
            assignments.add(assignment(version, new Assignment(tps("a", 0, "a", 2, "b", 1))));
            assignments.add(assignment(version, new Assignment(tps("orders", 7), data)));
        }
        for (int i = 0; i < 40; i++) groups.add(randomGroup(true));
        for (int i = 0; i < 40; i++) groups.add(randomGroup(false));
        System.out.println("{\"subscriptions\":" + list(subscriptions.stream()) + ",\n\"assignments\":" + list(assignments.stream())
            + ",\n\"groups\":[\n" + String.join(",\n", groups) + "\n]}");
    }
}
