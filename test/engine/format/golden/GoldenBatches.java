// Writes batches.json: record batches made by Kafka's own Java client, with the fields and records that it reads back from
// them. Run with kafka-clients 4.1.0 and its runtime dependencies on the class path:
//   java -cp 'lib/*' GoldenBatches.java > batches.json
// The file is never written anew; further cases go into a further file.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.Utils;

public class GoldenBatches {
    static final long T = 1_700_000_000_000L;
    static final Header[] NONE = new Header[0];
    static final List<String> cases = new ArrayList<>();

    record Input(long timestamp, byte[] key, byte[] value, Header[] headers) {}

    static byte[] utf8(String text) { return text == null ? null : text.getBytes(StandardCharsets.UTF_8); }

    static Input in(long timestamp, String key, String value, Header... headers) {
        return new Input(timestamp, utf8(key), utf8(value), headers);
    }

    static List<Input> plain() {
        return List.of(
            in(T, null, "first"),
            in(T + 5, "key", "value"),
            in(T - 70_000, "", ""),
            in(T + 3_000_000_000L, "k", null),
            in(T + 6, null, null),
            in(T + 7, "h", "with headers", new RecordHeader("trace-id", utf8("abc")), new RecordHeader("null", null),
                new RecordHeader("", utf8("")), new RecordHeader("clé-名", new byte[] {0, -1}), new RecordHeader("trace-id", utf8("again"))),
            in(T + 8, null, "v".repeat(300)));
    }

    static List<Input> compressible() {
        List<Input> records = new ArrayList<>(plain());
        for (int i = 0; i < 40; i++) records.add(in(T + 10 + i, "key-" + i % 4, "a value that repeats itself, number " + i % 3));
        return records;
    }

    static List<Input> large() {
        List<Input> records = new ArrayList<>();
        for (int i = 0; i < 3; i++) records.add(in(T + i, "big-" + i, "0123456789abcdef".repeat(5000)));
        return records;
    }

    static MemoryRecords build(Compression compression, TimestampType type, long baseOffset, long producerId, short epoch, int sequence,
                               boolean transactional, int leaderEpoch, List<Input> records) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, compression, type,
            baseOffset, T + 999, producerId, epoch, sequence, transactional, false, leaderEpoch);
        for (Input r : records) builder.append(r.timestamp, wrap(r.key), wrap(r.value), r.headers);
        return builder.build();
    }

    static MemoryRecords build(Compression compression, List<Input> records) {
        return build(compression, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, -1, records);
    }

    static ByteBuffer wrap(byte[] bytes) { return bytes == null ? null : ByteBuffer.wrap(bytes); }

    static Compression codec(CompressionType type) { return Compression.of(type).build(); }

    public static void main(String[] args) {
        Compression none = Compression.NONE;
        add("none", build(none, plain()));
        for (CompressionType type : List.of(CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD)) {
            add(type.name, build(codec(type), compressible()));
            add(type.name + "-large", build(codec(type), large()));
        }
        add("idempotent", build(none, TimestampType.CREATE_TIME, 1000, 4242, (short) 7, 123, false, 5, plain()));
        add("transactional", build(none, TimestampType.CREATE_TIME, 1000, 4242, (short) 7, 123, true, 5, plain()));
        add("log-append-time", build(none, TimestampType.LOG_APPEND_TIME, 7, -1, (short) -1, -1, false, 0, plain()));
        add("log-append-time-zstd", build(codec(CompressionType.ZSTD), TimestampType.LOG_APPEND_TIME, 7, -1, (short) -1, -1, false, 0, compressible()));
        add("no-timestamp", build(none, List.of(in(-1, null, "a"), in(-1, "b", "b"))));
        long max = (1L << 53) - 1;
        add("extremes", build(none, TimestampType.CREATE_TIME, max - 1, max, Short.MAX_VALUE, Integer.MAX_VALUE, false, Integer.MAX_VALUE,
            List.of(in(max, null, "latest"), in(0, null, "earliest"))));
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            add("control-" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(50, T, 3, 4242, (short) 7,
                new EndTransactionMarker(type, 11)));
        }
        add("compacted", compact(build(none, TimestampType.CREATE_TIME, 200, -1, (short) -1, -1, false, 3, compressible()), false));
        add("compacted-lz4", compact(build(codec(CompressionType.LZ4), TimestampType.CREATE_TIME, 200, -1, (short) -1, -1, false, 3, compressible()), false));
        add("delete-horizon", compact(build(none, TimestampType.CREATE_TIME, 200, -1, (short) -1, -1, false, 3, compressible()), true));
        ByteBuffer empty = ByteBuffer.allocate(61);
        DefaultRecordBatch.writeEmptyHeader(empty, RecordBatch.MAGIC_VALUE_V2, 4242, (short) 7, 40, 300, 304, 3, TimestampType.CREATE_TIME, T, false, false);
        empty.flip();
        add("empty", MemoryRecords.readableRecords(empty));
        StringJoiner all = new StringJoiner(",\n", "[\n", "\n]");
        cases.forEach(all::add);
        System.out.println(all);
    }

    /** Keeps every third record, as the log cleaner does; tombstones, which are among them with a horizon, make it set one. */
    static MemoryRecords compact(MemoryRecords records, boolean horizon) {
        ByteBuffer out = ByteBuffer.allocate(1 << 20);
        MemoryRecords.RecordFilter filter = new MemoryRecords.RecordFilter(T + 100, 1000) {
            @Override protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.DELETE_EMPTY, horizon);
            }
            @Override protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.Record record) {
                return record.offset() % 3 == (horizon ? 0 : 1);
            }
        };
        records.filterTo(filter, out, BufferSupplier.NO_CACHING);
        out.flip();
        return MemoryRecords.readableRecords(out);
    }

    static void add(String name, MemoryRecords records) {
        MutableRecordBatch b = records.batches().iterator().next();
        b.ensureValid();
        ByteBuffer buffer = ByteBuffer.allocate(b.sizeInBytes());
        b.writeTo(buffer);
        StringJoiner list = new StringJoiner(",\n    ");
        for (org.apache.kafka.common.record.Record r : b) {
            StringJoiner headers = new StringJoiner(", ");
            for (Header h : r.headers()) headers.add("[\"" + h.key() + "\", " + hex(wrap(h.value())) + "]");
            list.add("{\"offset\": " + r.offset() + ", \"timestamp\": " + r.timestamp() + ", \"key\": " + hex(r.key()) + ", \"value\": "
                + hex(r.value()) + ", \"headers\": [" + headers + "]}");
        }
        long baseTimestamp = buffer.getLong(27);
        cases.add("{\"name\": \"" + name + "\", \"codec\": \"" + b.compressionType().name + "\", \"baseOffset\": " + b.baseOffset()
            + ", \"lastOffset\": " + b.lastOffset() + ", \"leaderEpoch\": " + b.partitionLeaderEpoch() + ", \"baseTimestamp\": " + baseTimestamp
            + ", \"maxTimestamp\": " + b.maxTimestamp() + ", \"producerId\": " + b.producerId() + ", \"producerEpoch\": " + b.producerEpoch()
            + ", \"baseSequence\": " + b.baseSequence() + ", \"isTransactional\": " + b.isTransactional() + ", \"isControl\": " + b.isControlBatch()
            + ", \"isLogAppendTime\": " + (b.timestampType() == TimestampType.LOG_APPEND_TIME) + ", \"deleteHorizonMs\": "
            + (b.deleteHorizonMs().isPresent() ? "" + b.deleteHorizonMs().getAsLong() : "null") + ",\n  \"batch\": "
            + hex(buffer.flip()) + ",\n  \"records\": [\n    " + list + "\n  ]}");
    }

    /** A JSON string of hexadecimal digits, null for null; of long values the digest and the length instead. */
    static String hex(ByteBuffer buffer) {
        if (buffer == null) return "null";
        byte[] bytes = Utils.toArray(buffer);
        if (bytes.length > 20_000) return "{\"crc32\": " + crc(bytes) + ", \"length\": " + bytes.length + "}";
        StringBuilder text = new StringBuilder("\"");
        for (byte b : bytes) text.append(String.format("%02x", b));
        return text.append('"').toString();
    }

    static long crc(byte[] bytes) {
        java.util.zip.CRC32 crc = new java.util.zip.CRC32();
        crc.update(bytes);
        return crc.getValue();
    }
}
