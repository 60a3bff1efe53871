// KafkaJS as a user would use it; the codecs that it leaves to others come from those packages.
import zstd from "@mongodb-js/zstd";
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";
import lz4 from "lz4-napi";
import { readFileSync } from "node:fs";
import {
  check,
  checkCommitted,
  checkTransformed,
  commitAbortCommit,
  COMPRESSIONS,
  connected,
  DEADLINE_MS,
  key,
  KILLED_AFTER,
  large,
  LARGE_LIMIT_BYTES,
  main,
  PARTITIONS,
  pause,
  range,
  ReadBack,
  RECORDS,
  RESTART_COMMITTED,
  RESTART_RECORDS,
  sendThroughRestart,
  transactionValues,
  until,
  value,
  waysToSignIn,
  WIDE,
} from "../scenario.mjs";

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => zstd.compress(encoder.buffer),
  decompress: async (buffer) => zstd.decompress(buffer),
});
const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
const numbers = range(0, PARTITIONS);

const kafka = (bootstrap, settings = {}) =>
  new Kafka({
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 30_000,
    retry: { retries: 20, maxRetryTime: 2000 },
    ...settings,
  });

const withAdmin = (run, work) => connected(kafka(run.bootstrap).admin(), work);
const withProducer = (client, settings, work) => connected(client.producer(settings), work);

/** A topic, made and with its leaders; its name. */
async function create(run, name, numPartitions, configEntries = []) {
  const topic = run.topic(name);
  await withAdmin(run, async (admin) => {
    check(await createIn(admin, { topic, numPartitions, configEntries }), `${topic} was there`);
  });
  return topic;
}

/** Whether the topic was not there; back when it has leaders. KafkaJS's own waiting gives up where the broker does not know it yet. */
async function createIn(admin, asked) {
  const made = await admin.createTopics({ topics: [asked], waitForLeaders: false, timeout: DEADLINE_MS });
  await until("the topic's leaders", async () => {
    const partitions = await partitionsOf(admin, asked.topic).catch(() => []);
    return partitions.length >= asked.numPartitions && partitions.every((one) => one.leader >= 0);
  });
  return made;
}

const partitionsOf = async (admin, topic) => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions;

async function consumer(bootstrap, group, topic, settings = {}) {
  const own = { groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200 };
  const made = kafka(bootstrap).consumer({ ...own, ...settings });
  await made.connect();
  await made.subscribe({ topics: [topic], fromBeginning: true });
  return made;
}

const createTopics = (run) => withAdmin(run, async (admin) => {
  for (const topic of run.topics) check(await createIn(admin, { topic, numPartitions: PARTITIONS }), `${topic} was there`);
  const { topics } = await admin.fetchTopicMetadata({ topics: run.topics });
  check(topics.length === run.topics.length && topics.every((topic) => topic.partitions.length === PARTITIONS), JSON.stringify(topics));
});

async function produce(run, compression) {
  const topic = run.topic(compression);
  const producer = kafka(run.bootstrap).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let start = 0; start < RECORDS; start += 1000) {
    const messages = [];
    for (let number = start; number < start + 1000; number++)
      messages.push({ key: key(number), value: value(number), headers: { number: String(number) } });
    await producer.send({ topic, messages, compression: CODECS[compression] });
  }
  await producer.disconnect();
  const judge = new ReadBack();
  const reader = await consumer(run.bootstrap, run.topic(`check-${compression}`), topic);
  const eachMessage = async ({ message }) => judge.add(message.key, message.value, message.headers.number);
  await reader.run({ autoCommit: false, eachMessage });
  await until("reading back", () => judge.done());
  await reader.disconnect();
  judge.judge();
}

async function groupOfTwo(run) {
  const topic = run.topic("gzip"), group = run.topic("two"), positions = new Set();
  const join = async () => {
    const member = await consumer(run.bootstrap, group, topic);
    const joined = { member, assigned: 0 };
    member.on(member.events.GROUP_JOIN, ({ payload }) => (joined.assigned = payload.memberAssignment[topic]?.length ?? 0));
    await member.run({
      eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
        for (const message of batch.messages) {
          if (!isRunning() || isStale()) break;
          positions.add(`${batch.partition}:${message.offset}`);
          resolveOffset(message.offset);
        }
        await heartbeat();
        await pause(50); // the first is still reading when the second comes
      },
    });
    return joined;
  };
  const first = await join();
  await until("the first member's records", () => positions.size >= 1000);
  check(first.assigned === PARTITIONS, `alone it has ${first.assigned} partitions`);
  const second = await join();
  await until("both members' records and shares", () => positions.size === RECORDS && first.assigned === 2 && second.assigned === 2);
  await first.member.disconnect();
  await second.member.disconnect();
  checkCommitted(await committedBy(run, group, topic));
}

const committedBy = (run, groupId, topic) => withAdmin(run, async (admin) => {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  return found.partitions.map((one) => one.offset);
});

async function consumeUntil(bootstrap, topic, group, ready) {
  const reader = await consumer(bootstrap, group, topic);
  const next = new Map();
  let count = 0;
  await reader.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      next.set(partition, String(BigInt(message.offset) + 1n));
      if (++count !== KILLED_AFTER) return;
      await reader.commitOffsets([...next].map(([number, offset]) => ({ topic, partition: number, offset })));
      ready(count);
    },
  });
  await new Promise(() => {});
}

async function countTheRest(run, topic, group, wanted) {
  const reader = await consumer(run.bootstrap, group, topic);
  let count = 0;
  await reader.run({ eachMessage: async () => void count++ });
  await until("the rest", () => count >= wanted);
  await reader.disconnect();
  return count;
}

const listAndDescribe = (run) => withAdmin(run, async (admin) => {
  const group = run.topic("two");
  check((await admin.listGroups()).groups.some((one) => one.groupId === group), "the group is not listed");
  const { groups } = await admin.describeGroups([group]);
  check(groups[0].state === "Empty", `the group is ${groups[0].state}`);
});

const resetOffsets = (run) => withAdmin(run, async (admin) => {
  const topic = run.topic("gzip"), groupId = run.topic("two");
  await admin.setOffsets({ groupId, topic, partitions: numbers.map((partition) => ({ partition, offset: "7" })) });
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  const all = found.partitions.length === PARTITIONS && found.partitions.every((one) => one.offset === "7");
  check(all, `${JSON.stringify(found)} after the reset`);
});

const offsetsByTime = (run) => withAdmin(run, async (admin) => {
  const topic = run.topic("none");
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map((one) => [one.partition, one.high]));
  const beginning = await admin.fetchTopicOffsetsByTimestamp(topic, 0);
  check(beginning.length === PARTITIONS && beginning.every((one) => one.offset === "0"), "time 0 is not the beginning");
  const future = await admin.fetchTopicOffsetsByTimestamp(topic, Date.now() + 3_600_000);
  check(future.length === PARTITIONS && future.every((one) => one.offset === ends.get(one.partition)), "the future is not the end");
  const total = [...ends.values()].reduce((sum, one) => sum + Number(one), 0);
  check(total === RECORDS, `the ends add up to ${total}`);
});

const administer = (run) => withAdmin(run, async (admin) => {
  const topic = run.topic("admin");
  const asked = { topic, numPartitions: 2, configEntries: [{ name: "retention.ms", value: "3600000" }] };
  check(await createIn(admin, asked), "the topic was there");
  check((await admin.listTopics()).includes(topic), "the topic is not listed");
  const partitions = await partitionsOf(admin, topic);
  check(partitions.length === 2 && partitions.every((one) => one.leader >= 0), JSON.stringify(partitions));
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
  const retention = async () => {
    const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: ["retention.ms"] }] });
    return resources[0].configEntries.find((one) => one.configName === "retention.ms").configValue;
  };
  check((await retention()) === "3600000", `retention.ms is ${await retention()}`);
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "7200000" }] }] });
  await until("the altered config", async () => (await retention()) === "7200000");
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
  await until("five partitions", async () => (await partitionsOf(admin, topic)).length === 5);
  check(!(await createIn(admin, asked)), "the topic was created twice"); // false is how KafkaJS says TOPIC_ALREADY_EXISTS
  await admin.deleteTopics({ topics: [topic] });
  await until("the topic's end", async () => !(await admin.listTopics()).includes(topic));
});

async function idempotent(run) {
  const topic = await create(run, "idempotent", 1);
  await withProducer(kafka(run.bootstrap), { idempotent: true, maxInFlightRequests: 1 }, async (producer) => {
    for (let start = 0; start < RECORDS; start += 100) { // one after the other: KafkaJS keeps no order among those under way
      const messages = range(start, start + 100).map((number) => ({ value: value(number) }));
      const [{ baseOffset }] = await producer.send({ topic, messages });
      check(baseOffset === String(start), `the records from ${start} are at ${baseOffset}`);
    }
  });
}

async function largeMessages(run) {
  const topic = await create(run, "large", 1, [{ name: "max.message.bytes", value: String(LARGE_LIMIT_BYTES) }]);
  await withProducer(kafka(run.bootstrap), {}, async (producer) => {
    for (const number of range(0, 3)) await producer.send({ topic, messages: [{ value: large(number) }] });
    const refusal = await producer.send({ topic: run.topic("none"), messages: [{ value: large(0) }] }).catch((error) => error);
    check(refusal.type === "MESSAGE_TOO_LARGE", `too large a message: ${refusal}`);
  });
  const found = [];
  const sizes = { maxBytesPerPartition: LARGE_LIMIT_BYTES, maxBytes: 4 * LARGE_LIMIT_BYTES };
  const reader = await consumer(run.bootstrap, run.topic("large"), topic, sizes);
  await reader.run({ eachMessage: async ({ message }) => void found.push(message.value) });
  await until("three large messages", () => found.length >= 3);
  await reader.disconnect();
  check(found.length === 3 && found.every((one, number) => one.equals(large(number))), "what came back is something else");
}

async function wide(run) {
  const topic = await create(run, "wide", WIDE);
  const messages = range(0, WIDE).map((partition) => ({ partition, value: value(partition) }));
  await withProducer(kafka(run.bootstrap), { idempotent: true, maxInFlightRequests: 1 }, (producer) => producer.send({ topic, messages }));
  const found = new Map();
  let count = 0;
  const reader = await consumer(run.bootstrap, run.topic("wide"), topic);
  await reader.run({ eachMessage: async ({ partition, message }) => void (count++, found.set(partition, String(message.value))) });
  await until("a record of each partition", () => found.size === WIDE);
  await reader.disconnect();
  check(count === WIDE && range(0, WIDE).every((number) => found.get(number) === value(number)), "not one of each");
  await withAdmin(run, (admin) => admin.deleteTopics({ topics: [topic] }));
}

async function seek(run) {
  const topic = run.topic("none"), offsets = [];
  let others = 0;
  const reader = await consumer(run.bootstrap, run.topic("seek"), topic, { maxBytesPerPartition: 20_000 });
  await reader.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (partition === 0) offsets.push(Number(message.offset));
      else others++;
      await pause(1);
    },
  });
  const first = { topic, partitions: [0] };
  reader.pause([{ topic, partitions: [2, 3] }]);
  await until("a first few records", () => offsets.length > 10);
  reader.pause([first]);
  await pause(500); // what was being done is done
  offsets.length = 0;
  reader.seek({ topic, partition: 0, offset: "5" });
  reader.resume([first]);
  await until("the records after the seek", () => offsets.length > 50);
  check(offsets[0] === 5, `after the seek comes ${offsets.slice(0, 3)}`);
  reader.pause([first]);
  await pause(200);
  const count = offsets.length, before = others;
  reader.seek({ topic, partition: 1, offset: "0" });
  await pause(1000);
  check(offsets.length === count && others > before, `while paused came ${offsets.length - count} and ${others - before} records`);
  reader.resume([first]);
  await until("the records after the pause", () => offsets.length > count + 50);
  check(offsets.every((offset, index) => offset === 5 + index), `around the pause came ${offsets.slice(count - 2, count + 3)}`);
  const end = (await withAdmin(run, (admin) => admin.fetchTopicOffsets(topic))).find((one) => one.partition === 0).high;
  reader.seek({ topic, partition: 0, offset: String(Number(end) - 1) });
  await until("the last record", () => offsets.at(-1) === Number(end) - 1);
  await reader.disconnect();
}

/** The values of a topic, as seen under an isolation level; a little longer than until the last one. */
async function valuesOf(run, topic, isolation, wanted) {
  const found = [], settings = { readUncommitted: isolation === "read_uncommitted" };
  const reader = await consumer(run.bootstrap, run.topic(`${isolation}-${topic}`), topic, settings);
  await reader.run({ eachMessage: async ({ message }) => void found.push(String(message.value)) });
  await until(`${wanted} records`, () => found.length >= wanted);
  await pause(1000);
  await reader.disconnect();
  return found;
}

const transactional = (run, name) =>
  kafka(run.bootstrap).producer({ transactionalId: run.topic(name), idempotent: true, maxInFlightRequests: 1 });

async function transactions(run) {
  const topic = await create(run, "transactions", 1);
  const transact = async (producer, what, begun = null) => {
    const transaction = begun ?? (await producer.transaction());
    await transaction.send({ topic, messages: transactionValues(what).map((one) => ({ value: one })) });
    await (what === "aborted" ? transaction.abort() : transaction.commit());
  };
  const first = transactional(run, "transactional"), second = transactional(run, "transactional");
  await first.connect();
  await commitAbortCommit((what) => transact(first, what), (isolation, count) => valuesOf(run, topic, isolation, count));
  const begun = await first.transaction(); // KafkaJS takes a new epoch with each transaction, so this one is begun before the other's
  await second.connect();
  await transact(second, "second");
  const fenced = await transact(first, "fenced", begun).then(() => new Error("the first producer is not fenced"), (error) => error);
  check(["INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"].includes(fenced.type), String(fenced));
  await first.disconnect();
  await second.disconnect();
}

async function transform(run) {
  const source = run.topic("gzip"), target = await create(run, "transformed", 1), group = run.topic("transform");
  const producer = transactional(run, "transformer"), problems = [];
  await producer.connect();
  const reader = await consumer(run.bootstrap, group, source);
  let done = 0, count = 0;
  const once = async (messages, partition) => {
    const transaction = await producer.transaction();
    await transaction.send({ topic: target, messages: messages.map((one) => ({ value: String(one.value).toUpperCase() })) });
    const offset = String(BigInt(messages.at(-1).offset) + 1n);
    await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic: source, partitions: [{ partition, offset }] }] });
    const committed = ++count % 3 !== 0;
    await (committed ? transaction.commit() : transaction.abort());
    return committed;
  };
  await reader.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      const messages = batch.messages.slice(0, 1000);
      try {
        if (await once(messages, batch.partition)) {
          resolveOffset(messages.at(-1).offset);
          done += messages.length;
        } else {
          const [found] = await withAdmin(run, (admin) => admin.fetchOffsets({ groupId: group, topics: [source] }));
          const { offset } = found.partitions.find((one) => one.partition === batch.partition);
          reader.seek({ topic: source, partition: batch.partition, offset: offset === "-1" ? "0" : offset });
        }
      } catch (error) {
        problems.push(error);
      }
      await heartbeat();
    },
  });
  await until("every record's transformation", () => done >= RECORDS || problems.length > 0);
  await reader.disconnect();
  await producer.disconnect();
  if (problems.length) throw problems[0];
  checkTransformed(await valuesOf(run, target, "read_committed", RECORDS));
  checkCommitted(await committedBy(run, group, source));
}

async function restart(run) {
  const topic = await create(run, "restart", PARTITIONS), group = run.topic("restart");
  const read = async (wanted, work) => {
    const reader = await consumer(run.bootstrap, group, topic);
    const seen = [], next = new Map();
    await reader.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (seen.length >= wanted) return;
        seen.push(String(message.value));
        next.set(partition, String(BigInt(message.offset) + 1n));
      },
    });
    await until(`${wanted} records`, () => seen.length >= wanted);
    await work(reader, [...next].map(([partition, offset]) => ({ topic, partition, offset })));
    await reader.disconnect();
    return seen;
  };
  const patient = kafka(run.bootstrap, { retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 50 } });
  await withProducer(patient, { idempotent: true, maxInFlightRequests: 1 }, async (producer) => {
    await sendThroughRestart(
      (from, to) => producer.send({ topic, messages: range(from, to).map((number) => ({ key: key(number), value: value(number) })) }),
      () => read(RESTART_COMMITTED, (reader, offsets) => reader.commitOffsets(offsets)),
      () => read(RESTART_RECORDS - RESTART_COMMITTED, () => pause(500)),
    );
  });
}

async function signIn(run) {
  for (const way of waysToSignIn()) {
    const settings = (password) => ({
      ssl: way.protocol.includes("SSL") ? { ca: [readFileSync(way.authority)] } : false,
      sasl: way.mechanism ? { mechanism: way.mechanism.toLowerCase(), username: way.user, password } : undefined,
      retry: { retries: 0 },
    });
    const client = kafka(way.bootstrap, settings(way.password)), topic = run.topic("none");
    const [{ baseOffset }] = await withProducer(client, {}, (producer) =>
      producer.send({ topic, messages: [{ partition: 0, value: "signed in" }] }));
    const reader = client.consumer({ groupId: run.topic(`signed-in-${way.protocol}-${way.mechanism}`), maxWaitTimeInMs: 200 });
    let found = null;
    await reader.connect();
    await reader.subscribe({ topics: [topic], fromBeginning: false });
    await reader.run({
      eachMessage: async ({ partition, message }) => {
        if (partition === 0 && message.offset === baseOffset) found = String(message.value);
      },
    });
    reader.seek({ topic, partition: 0, offset: baseOffset });
    await until(`the record of ${way.protocol}`, () => found !== null);
    await reader.disconnect();
    check(found === "signed in", `${found} was read`);
    if (!way.mechanism) continue;
    const refused = kafka(way.bootstrap, settings("a wrong password")).producer();
    const refusal = await refused.connect().then(() => new Error("a wrong password was accepted"), (error) => error);
    check(refusal.name === "KafkaJSSASLAuthenticationError", `${way.protocol} by ${way.mechanism}: ${refusal}`);
  }
}

const deleteAll = (run) => withAdmin(run, async (admin) => {
  const [group] = await admin.deleteGroups([run.topic("two")]);
  check(!group.errorCode, JSON.stringify(group));
  await admin.deleteTopics({ topics: run.topics, timeout: DEADLINE_MS });
  await until("the topics' end", async () => !(await admin.listTopics()).some((topic) => run.topics.includes(topic)));
});

const scenarios = {
  "create topic": createTopics,
  "administer a topic": administer,
  ...Object.fromEntries(COMPRESSIONS.map((compression) => [`produce ${compression}`, (run) => produce(run, compression)])),
  "idempotent producer": idempotent,
  "messages of 5 MiB": largeMessages,
  "1,000 partitions": wide,
  "consume in a group of two with a rebalance": groupOfTwo,
  "consume in a group of two, cooperatively": "KafkaJS knows eager rebalances only",
  "restart a static member": "KafkaJS has no group.instance.id",
  "seek, pause, resume": seek,
  "list and describe groups": listAndDescribe,
  "reset offsets": resetOffsets,
  "offsets by time": offsetsByTime,
  "transactions": transactions,
  "consume, transform, produce": transform,
  "consumer group of the new protocol": "KafkaJS has no consumer of KIP-848",
  "share group": "KafkaJS has no share consumer",
  "restart the broker": restart,
  "sign in": signIn,
  "delete": deleteAll,
};

await main(scenarios, { consumeUntil, countTheRest });
