// Reads topics of a Kafka node with its own consumer and prints what it gets, a JSON object on each line:
//   java Read.java <bootstrap> read_committed|read_uncommitted <topic>... [read_committed|read_uncommitted <topic>...]
//   {"kind":"record", "isolation", "topic", "partition", "offset", "timestamp", "epoch", "key", "value", "headers"}   text as base64, or null
//   {"kind":"seek", "isolation", "topic", "partition", "offset", "found"}      the first record from an offset on
//   {"kind":"time", "isolation", "topic", "partition", "timestamp", "found"}   the offset for a timestamp, -1 for none

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Read {
    static final Duration WAIT = Duration.ofMillis(200);
    static final long GIVE_UP_NANOS = 60_000_000_000L;

    static String isolation;

    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder();
        for (int from = 1; from < args.length; ) {
            isolation = args[from++];
            int to = from;
            while (to < args.length && !args[to].startsWith("read_")) to++;
            read(args[0], Arrays.asList(args).subList(from, to), out);
            from = to;
        }
        System.out.print(out);
    }

    static void read(String bootstrap, List<String> topics, StringBuilder out) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("isolation.level", isolation);
        properties.put("auto.offset.reset", "none");
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (String topic : topics) {
                for (var info : consumer.partitionsFor(topic)) read(consumer, new TopicPartition(topic, info.partition()), out);
            }
        }
    }

    static void read(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, StringBuilder out) {
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        long end = consumer.endOffsets(List.of(partition)).get(partition);
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long giveUp = System.nanoTime() + GIVE_UP_NANOS;
        while (consumer.position(partition) < end) {
            if (System.nanoTime() > giveUp) throw new IllegalStateException(partition + " ends at " + consumer.position(partition) + ", not " + end);
            for (var record : consumer.poll(WAIT)) records.add(record);
        }
        for (var record : records) out.append(line(record)).append('\n');
        int step = Math.max(1, records.size() / 12);
        for (int i = 0; i < records.size(); i += step) {
            var record = records.get(i);
            print(out, "seek", partition, "offset", record.offset(), seek(consumer, partition, record.offset()));
            for (long timestamp : new long[] {record.timestamp(), record.timestamp() + 1}) {
                if (timestamp < 0) continue; // of a record without one: the consumer refuses to ask
                var found = consumer.offsetsForTimes(Map.of(partition, timestamp)).get(partition);
                print(out, "time", partition, "timestamp", timestamp, found == null ? -1 : found.offset());
            }
        }
    }

    static long seek(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long offset) {
        consumer.seek(partition, offset);
        long giveUp = System.nanoTime() + GIVE_UP_NANOS;
        while (System.nanoTime() < giveUp) for (var record : consumer.poll(WAIT)) return record.offset();
        throw new IllegalStateException("nothing at " + partition + " " + offset);
    }

    static void print(StringBuilder out, String kind, TopicPartition at, String name, long value, long found) {
        out.append(String.format("{\"kind\":\"%s\",\"isolation\":\"%s\",\"topic\":\"%s\",\"partition\":%d,\"%s\":%d,\"found\":%d}\n",
            kind, isolation, at.topic(), at.partition(), name, value, found));
    }

    static String line(ConsumerRecord<byte[], byte[]> record) {
        String headers = StreamSupport.stream(record.headers().spliterator(), false)
            .map(header -> String.format("[\"%s\",%s]", header.key(), text(header.value())))
            .collect(Collectors.joining(",", "[", "]"));
        return String.format("{\"kind\":\"record\",\"isolation\":\"%s\",\"topic\":\"%s\",\"partition\":%d,\"offset\":%d,\"timestamp\":%d,\"epoch\":%d,\"key\":%s,\"value\":%s,\"headers\":%s}",
            isolation, record.topic(), record.partition(), record.offset(), record.timestamp(), record.leaderEpoch().orElse(-1),
            text(record.key()), text(record.value()), headers);
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : "\"" + Base64.getEncoder().encodeToString(bytes) + "\"";
    }
}
