// Writes topics of every kind to a Kafka node: java Write.java <bootstrap> first|second|last. What is in them is read back by
// Read.java; the node is started anew between the phases, so that leader epochs rise.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Write {
    static final long T = 1_750_000_000_000L;
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static String bootstrap;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        switch (args[1]) {
            case "first" -> {
                create();
                mixed();
                compacted();
                transactions();
                epochs(0);
            }
            case "second" -> epochs(1);
            case "last" -> epochs(2);
            default -> throw new IllegalArgumentException(args[1]);
        }
    }

    static void create() throws Exception {
        // Segments are closed by time: the smallest segment.bytes of Kafka is a megabyte.
        Map<String, String> small = Map.of("index.interval.bytes", "200", "segment.ms", "1000", "retention.ms", "-1");
        Map<String, String> compact = new HashMap<>(small);
        compact.put("cleanup.policy", "compact");
        compact.put("min.cleanable.dirty.ratio", "0.01");
        List<NewTopic> topics = new ArrayList<>();
        topics.add(new NewTopic("mixed", 2, (short) 1).configs(small));
        topics.add(new NewTopic("compacted", 1, (short) 1).configs(compact));
        topics.add(new NewTopic("transactions", 1, (short) 1).configs(small));
        topics.add(new NewTopic("epochs", 1, (short) 1).configs(small));
        for (String name : new String[] {"ours", "ours-compacted", "ours-killed", "ours-trimmed"}) {
            topics.add(new NewTopic(name, 1, (short) 1).configs(Map.of("retention.ms", "-1")));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", (Object) bootstrap))) {
            admin.createTopics(topics).all().get();
        }
    }

    static KafkaProducer<byte[], byte[]> producer(String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("linger.ms", "60000"); // batches are closed by flush
        for (int i = 0; i < settings.length; i += 2) properties.put(settings[i], settings[i + 1]);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] utf8(String text) { return text == null ? null : text.getBytes(StandardCharsets.UTF_8); }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, long timestamp, String key, String value) {
        return new ProducerRecord<>(topic, partition, timestamp, utf8(key), utf8(value));
    }

    /** Every codec in turn, records of every shape; partition 1 without idempotence. */
    static void mixed() {
        for (int partition = 0; partition < 2; partition++) {
            int number = 0;
            for (int round = 0; round < 4; round++) {
                for (String codec : CODECS) {
                    String idempotence = partition == 0 ? "true" : "false";
                    try (var producer = producer("compression.type", codec, "enable.idempotence", idempotence)) {
                        for (int batch = 0; batch < 3; batch++) {
                            for (int i = 0; i < 10; i++) producer.send(shaped(partition, number++));
                            producer.flush();
                        }
                    }
                }
            }
        }
    }

    static ProducerRecord<byte[], byte[]> shaped(int partition, int i) {
        String key = i % 3 == 0 ? null : i % 7 == 0 ? "" : "key-" + i;
        String value = i % 5 == 0 ? null : i % 11 == 0 ? "" : ("value-" + i + " ").repeat(1 + i % 9);
        long wobble = i % 13 == 0 ? -700 : 0;
        var record = record("mixed", partition, T + 6L * i + wobble, key, value);
        if (i % 4 == 0) {
            record.headers().add(new RecordHeader("source", utf8("kafka")));
            record.headers().add(new RecordHeader("none", null));
            record.headers().add(new RecordHeader("source", utf8("again")));
        }
        return record;
    }

    /** Tombstones and keys that come again, in segments that are closed, so that the cleaner has something to do. */
    static void compacted() {
        try (var producer = producer("compression.type", "lz4")) {
            for (int i = 0; i < 600; i++) {
                String key = i % 7 == 0 ? "once-" + i : "key-" + i % 40;
                producer.send(record("compacted", 0, T + 20L * i, key, i % 9 == 0 ? null : "value-" + i));
                if (i % 10 == 9) producer.flush();
            }
        }
    }

    /** Two producers whose transactions lie in each other, some aborted, and records outside of any. */
    static void transactions() {
        try (var one = producer("transactional.id", "one"); var two = producer("transactional.id", "two"); var plain = producer()) {
            one.initTransactions();
            two.initTransactions();
            for (int round = 0; round < 12; round++) {
                long timestamp = T + 400L * round;
                one.beginTransaction();
                two.beginTransaction();
                for (int i = 0; i < 3; i++) {
                    one.send(record("transactions", 0, timestamp, "one-" + round, "value-" + i));
                    one.flush();
                    two.send(record("transactions", 0, timestamp + 1, "two-" + round, "value-" + i));
                    two.flush();
                }
                plain.send(record("transactions", 0, timestamp + 2, "plain-" + round, "value"));
                plain.flush();
                if (round % 3 == 0) one.abortTransaction(); else one.commitTransaction();
                if (round % 4 == 1) two.abortTransaction(); else two.commitTransaction();
            }
        }
    }

    static void epochs(int phase) {
        try (var producer = producer()) {
            for (int i = 0; i < 40; i++) {
                producer.send(record("epochs", 0, T + 3_000L * phase + i, "key-" + i, "phase-" + phase));
                if (i % 8 == 7) producer.flush();
            }
        }
    }
}
