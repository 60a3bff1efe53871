// KafkaJS as a user would use it; the codecs that it leaves to others come from those packages.
import zstd from "@mongodb-js/zstd";
import kafkajs from "kafkajs";
import snappy from "kafkajs-snappy";
import lz4 from "lz4-napi";
import { check, DEADLINE_MS, key, KILLED_AFTER, main, PARTITIONS, pause, ReadBack, RECORDS, until, value } from "../scenario.mjs";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
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
const numbers = [...Array(PARTITIONS).keys()];

const kafka = (bootstrap) => new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING });

async function withAdmin(run, work) {
  const admin = kafka(run.bootstrap).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function consumer(bootstrap, group, topic) {
  const made = kafka(bootstrap).consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200 });
  await made.connect();
  await made.subscribe({ topics: [topic], fromBeginning: true });
  return made;
}

const createTopics = (run) => withAdmin(run, async (admin) => {
  check(await admin.createTopics({ topics: run.topics.map((topic) => ({ topic, numPartitions: PARTITIONS })) }), "the topics were there");
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
  await reader.run({ autoCommit: false, eachMessage: async ({ message }) => judge.add(message.key, message.value, message.headers.number) });
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
  const [found] = await withAdmin(run, (admin) => admin.fetchOffsets({ groupId: group, topics: [topic] }));
  const total = found.partitions.reduce((sum, one) => sum + Number(one.offset), 0);
  check(total === RECORDS, `${JSON.stringify(found)} was committed`);
}

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
  check(found.partitions.length === PARTITIONS && found.partitions.every((one) => one.offset === "7"), `${JSON.stringify(found)} after the reset`);
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

const deleteAll = (run) => withAdmin(run, async (admin) => {
  const [group] = await admin.deleteGroups([run.topic("two")]);
  check(!group.errorCode, JSON.stringify(group));
  await admin.deleteTopics({ topics: run.topics, timeout: DEADLINE_MS });
  await until("the topics' end", async () => !(await admin.listTopics()).some((topic) => run.topics.includes(topic)));
});

await main({ createTopics, produce, groupOfTwo, consumeUntil, countTheRest, listAndDescribe, resetOffsets, offsetsByTime, deleteAll });
