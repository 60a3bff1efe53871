import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.utils.ImplicitLinkedHashCollection;

/**
 * Kafka's own message classes behind a pipe. One question a line, one answer a line:
 *
 *   echo NAME VERSION HEX     decode, encode again: the hex, a tab, the message as Kafka's JSON
 *   make NAME VERSION SEED    a message with random content, made with Kafka's setters and encoded: the hex
 *   errors                    every error code: CODE NAME RETRIABLE, separated by commas
 *
 * An answer that starts with "!" says what went wrong.
 */
public class KafkaCodec {
    static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.raft.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
    };

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = answer(line.split(" ", -1));
            } catch (InvocationTargetException error) {
                answer = "! " + error.getCause();
            } catch (Throwable error) {
                answer = "! " + error;
            }
            out.println(answer.replace('\n', ' '));
        }
    }

    static String answer(String[] words) throws Exception {
        if (words[0].equals("errors")) {
            List<String> all = new ArrayList<>();
            for (Errors error : Errors.values()) {
                all.add(error.code() + " " + error.name() + " " + (error.exception() instanceof RetriableException));
            }
            return String.join(",", all);
        }
        Class<?> message = find(words[1]);
        short version = Short.parseShort(words[2]);
        if (words[0].equals("make")) {
            Message made = new Maker(new Random(Long.parseLong(words[3])), version).struct(message);
            return HexFormat.of().formatHex(encode(made, version));
        }
        byte[] sent = HexFormat.of().parseHex(words[3]);
        Message read = (Message) message.getDeclaredConstructor().newInstance();
        ByteBufferAccessor buffer = new ByteBufferAccessor(ByteBuffer.wrap(sent));
        read.read(buffer, version);
        if (buffer.remaining() > 0) {
            return "! " + buffer.remaining() + " bytes are left over";
        }
        return HexFormat.of().formatHex(encode(read, version)) + "\t" + json(read, version);
    }

    static Class<?> find(String name) throws ClassNotFoundException {
        for (String prefix : PACKAGES) {
            for (String suffix : new String[] {"Data", ""}) {
                try {
                    return Class.forName(prefix + name + suffix);
                } catch (ClassNotFoundException elsewhere) {
                    continue;
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    static byte[] encode(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        return buffer.array();
    }

    static String json(Message message, short version) throws Exception {
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        for (Method method : converter.getMethods()) {
            if (method.getName().equals("write") && method.getParameterCount() == 2) {
                return ((JsonNode) method.invoke(null, message, version)).toString();
            }
        }
        throw new IllegalStateException(converter + " has no write method");
    }

    /** Makes structs whose fields are random, as far as the version can carry them. */
    record Maker(Random random, short version) {
        Message struct(Class<?> type) throws Exception {
            Message made = (Message) type.getDeclaredConstructor().newInstance();
            for (Method setter : type.getDeclaredMethods()) {
                boolean isSetter = setter.getName().startsWith("set") && setter.getParameterCount() == 1 && !setter.isSynthetic();
                if (!isSetter || Modifier.isStatic(setter.getModifiers()) || random.nextInt(6) == 0) {
                    continue;
                }
                String name = Character.toLowerCase(setter.getName().charAt(3)) + setter.getName().substring(4);
                Object before = type.getMethod(name).invoke(made);
                try {
                    setter.invoke(made, value(setter.getGenericParameterTypes()[0]));
                    encode(made, version);
                } catch (RuntimeException | InvocationTargetException notInThisVersion) {
                    setter.invoke(made, before);
                }
            }
            if (random.nextInt(6) == 0) {
                made.unknownTaggedFields().add(new RawTaggedField(5000 + random.nextInt(9), bytes()));
                try {
                    encode(made, version);
                } catch (RuntimeException notInThisVersion) {
                    made.unknownTaggedFields().clear();
                }
            }
            return made;
        }

        Object value(Type generic) throws Exception {
            if (generic == boolean.class) return random.nextBoolean();
            if (generic == byte.class) return (byte) random.nextInt();
            if (generic == short.class) return (short) random.nextInt();
            if (generic == int.class) return random.nextInt(3) == 0 ? random.nextInt() : random.nextInt(0x10000);
            if (generic == long.class) return random.nextInt(3) == 0 ? random.nextLong() : random.nextLong(1L << 32);
            if (generic == double.class) return random.nextDouble();
            if (random.nextInt(8) == 0) return null;
            if (generic == String.class) return text();
            if (generic == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
            if (generic == byte[].class) return bytes();
            if (generic == ByteBuffer.class) return ByteBuffer.wrap(bytes());
            if (generic == BaseRecords.class) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
            if (generic instanceof ParameterizedType list) {
                return filled(new ArrayList<>(), list.getActualTypeArguments()[0]);
            }
            Class<?> type = (Class<?>) generic;
            if (ImplicitLinkedHashCollection.class.isAssignableFrom(type)) {
                Type element = ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
                return filled((Collection<?>) type.getDeclaredConstructor().newInstance(), element);
            }
            return struct(type);
        }

        @SuppressWarnings("unchecked")
        Collection<Object> filled(Collection<?> empty, Type element) throws Exception {
            Collection<Object> collection = (Collection<Object>) empty;
            for (int count = random.nextInt(12) == 0 ? 130 : random.nextInt(4); count > 0; count--) {
                Object made = boxed(element);
                if (made != null) collection.add(made);
            }
            return collection;
        }

        Object boxed(Type element) throws Exception {
            if (element == Byte.class) return value(byte.class);
            if (element == Short.class) return value(short.class);
            if (element == Integer.class) return value(int.class);
            if (element == Long.class) return value(long.class);
            return value(element);
        }

        String text() {
            StringBuilder made = new StringBuilder();
            for (int count = random.nextInt(12) == 0 ? 128 : random.nextInt(9); count > 0; count--) {
                made.appendCodePoint("aZ9.-_é☃".codePointAt(random.nextInt(8)));
            }
            return made.toString();
        }

        byte[] bytes() {
            byte[] made = new byte[random.nextInt(12) == 0 ? 128 : random.nextInt(9)];
            random.nextBytes(made);
            return made;
        }
    }
}
