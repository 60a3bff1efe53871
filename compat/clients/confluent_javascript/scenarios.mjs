// @confluentinc/kafka-javascript (librdkafka), by its promises, as a user would use it.
import confluent from "@confluentinc/kafka-javascript";
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

const { Kafka, ErrorCodes, logLevel } = confluent.KafkaJS;

const kafka = (bootstrap, settings = {}) =>
  new Kafka({ kafkaJS: { brokers: [bootstrap], logLevel: logLevel.NOTHING }, "reconnect.backoff.max.ms": 500, ...settings });

const withAdmin = (run, work) => connected(kafka(run.bootstrap).admin(), work);
const withProducer = (client, settings, work) => connected(client.producer(settings), work);

/** A topic, made and with its leaders; its name. */
async function create(run, name, numPartitions, configEntries = []) {
  const topic = run.topic(name);
  await withAdmin(run, async (admin) => {
    check(await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }), `${topic} was there`);
    await until("the topic's leaders", async () => {
      const [found] = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => []);
      return found?.partitions.length === numPartitions && found.partitions.every((one) => one.leader >= 0);
    });
  });
  return topic;
}

async function consumer(bootstrap, group, topic, settings = {}) {
  const session = settings["group.protocol"] ? {} : { "session.timeout.ms": 6000 };
  const own = { "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": false };
  const made = kafka(bootstrap).consumer({ ...own, ...session, ...settings });
  await made.connect();
  await made.subscribe({ topics: [topic] });
  return made;
}

async function createTopics(run) {
  for (const name of COMPRESSIONS) await create(run, name, PARTITIONS);
}

async function produce(run, compression) {
  const topic = run.topic(compression);
  await withProducer(kafka(run.bootstrap), { "compression.type": compression, "enable.idempotence": true }, async (producer) => {
    for (let start = 0; start < RECORDS; start += 1000) {
      const message = (number) => ({ key: key(number), value: value(number), headers: { number: String(number) } });
      await producer.send({ topic, messages: range(start, start + 1000).map(message) });
    }
  });
  const judge = new ReadBack();
  const reader = await consumer(run.bootstrap, run.topic(`check-${compression}`), topic);
  await reader.run({ eachMessage: async ({ message }) => judge.add(message.key, message.value, message.headers.number) });
  await until("reading back", () => judge.done());
  await reader.disconnect();
  judge.judge();
}

async function idempotent(run) {
  const topic = await create(run, "idempotent", 1);
  await withProducer(kafka(run.bootstrap), { "enable.idempotence": true, "batch.num.messages": 100 }, async (producer) => {
    const starts = range(0, RECORDS / 100).map((batch) => batch * 100);
    const sent = await Promise.all(starts.map((start) =>
      producer.send({ topic, messages: range(start, start + 100).map((number) => ({ value: value(number) })) })));
    const wrong = starts.filter((start, index) => Number(sent[index][0].baseOffset) !== start);
    check(wrong.length === 0, `the records from ${wrong} are not at their place`);
  });
}

async function largeMessages(run) {
  const topic = await create(run, "large", 1, [{ name: "max.message.bytes", value: String(LARGE_LIMIT_BYTES) }]);
  await withProducer(kafka(run.bootstrap), { "message.max.bytes": LARGE_LIMIT_BYTES }, async (producer) => {
    for (const number of range(0, 3)) await producer.send({ topic, messages: [{ value: large(number) }] });
    const refusal = await producer.send({ topic: run.topic("none"), messages: [{ value: large(0) }] }).catch((error) => error);
    check(refusal.code === ErrorCodes.ERR_MSG_SIZE_TOO_LARGE, `too large a message: ${refusal}`);
  });
  const found = [], sizes = { "fetch.message.max.bytes": LARGE_LIMIT_BYTES, "receive.message.max.bytes": 80 * 1024 * 1024 };
  const reader = await consumer(run.bootstrap, run.topic("large"), topic, sizes);
  await reader.run({ eachMessage: async ({ message }) => void found.push(message.value) });
  await until("three large messages", () => found.length >= 3);
  await reader.disconnect();
  check(found.length === 3 && found.every((one, number) => one.equals(large(number))), "what came back is something else");
}

async function wide(run) {
  const topic = await create(run, "wide", WIDE);
  const messages = range(0, WIDE).map((partition) => ({ partition, value: value(partition) }));
  await withProducer(kafka(run.bootstrap), { "enable.idempotence": true }, (producer) => producer.send({ topic, messages }));
  const found = new Map();
  let count = 0;
  const reader = await consumer(run.bootstrap, run.topic("wide"), topic);
  await reader.run({ eachMessage: async ({ partition, message }) => void (count++, found.set(partition, String(message.value))) });
  await until("a record of each partition", () => found.size === WIDE);
  await reader.disconnect();
  check(count === WIDE && range(0, WIDE).every((number) => found.get(number) === value(number)), "not one of each");
  await withAdmin(run, (admin) => admin.deleteTopics({ topics: [topic] }));
}

/** A member of a group that notes what it sees and how often its partitions change. */
async function join(run, topic, group, positions, settings) {
  const joined = { lost: [], changes: 0 };
  const changed = (error, partitions) => {
    joined.changes++;
    if (error.code === ErrorCodes.ERR__REVOKE_PARTITIONS) joined.lost.push(...partitions);
  };
  const own = { "enable.auto.commit": true, "auto.commit.interval.ms": 200, rebalance_cb: changed };
  joined.member = await consumer(run.bootstrap, group, topic, { ...own, ...settings });
  joined.has = () => joined.member.assignment().map((one) => one.partition).sort();
  let count = 0;
  await joined.member.run({
    eachMessage: async ({ partition, message }) => {
      positions.add(`${partition}:${message.offset}`);
      if (++count % 100 === 0) await pause(20); // the first is still reading when the second comes
    },
  });
  return joined;
}

/** A first member has everything, a second one half; everything is seen and committed. Gives what the first lost on the way. */
async function shareOut(run, topic, group, settings, whileTwo = async () => {}) {
  const positions = new Set(), first = await join(run, topic, group, positions, settings);
  await until("the first member's records", () => positions.size >= 1000);
  check(first.has().length === PARTITIONS, `alone it has ${first.has()}`);
  const second = await join(run, topic, group, positions, settings);
  await until("both members' records and shares", () =>
    positions.size === RECORDS && first.has().length === PARTITIONS / 2 && second.has().length === PARTITIONS / 2);
  const lost = first.lost.length;
  await whileTwo();
  await pause(500);
  await first.member.disconnect();
  await second.member.disconnect();
  checkCommitted(await committedBy(run, group, topic));
  return lost;
}

const committedBy = (run, groupId, topic) => withAdmin(run, async (admin) => {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  return found.partitions.map((one) => one.offset);
});

async function groupOfTwo(run) {
  const lost = await shareOut(run, run.topic("gzip"), run.topic("two"), { "partition.assignment.strategy": "range" });
  check(lost === PARTITIONS, `an eager rebalance took ${lost}`);
}

async function cooperative(run) {
  const settings = { "partition.assignment.strategy": "cooperative-sticky" };
  const lost = await shareOut(run, run.topic("zstd"), run.topic("cooperative"), settings);
  check(lost === PARTITIONS / 2, `the first member lost ${lost}`);
}

async function newProtocol(run) {
  const group = run.topic("new");
  await shareOut(run, run.topic("lz4"), group, { "group.protocol": "consumer" }, () => withAdmin(run, async (admin) => {
    const { groups } = await admin.describeGroups([group]);
    const { type, members } = groups[0];
    check(members.length === 2 && type === confluent.KafkaJS.ConsumerGroupTypes.CONSUMER, `the group is ${type} of ${members.length}`);
  }));
}

async function staticMember(run) {
  const topic = run.topic("snappy"), group = run.topic("static");
  const member = (name) => join(run, topic, group, new Set(), { "group.instance.id": name, "session.timeout.ms": 30_000 });
  const one = await member("one");
  let two = await member("two");
  await until("two partitions each", () => one.has().length === 2 && two.has().length === 2);
  const before = String(two.has()), changes = one.changes;
  await two.member.disconnect();
  two = await member("two");
  await until("the member's partitions", () => two.has().length >= 2);
  await pause(2000);
  check(String(two.has()) === before, `it had ${before}, and has ${two.has()}`);
  check(one.changes === changes, "the other member saw a rebalance");
  await one.member.disconnect();
  await two.member.disconnect();
}

async function consumeUntil(bootstrap, topic, group, ready) {
  const reader = await consumer(bootstrap, group, topic);
  const next = new Map();
  let count = 0;
  await reader.run({
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
  await pause(500);
  await reader.disconnect();
  return count;
}

async function seek(run) {
  const topic = run.topic("none"), offsets = [], first = { topic, partitions: [0] };
  let others = 0;
  const reader = await consumer(run.bootstrap, run.topic("seek"), topic, { "queued.min.messages": 100 });
  await reader.run({
    eachMessage: async ({ partition, message }) => {
      if (partition === 0) offsets.push(Number(message.offset));
      else others++;
      await pause(1);
    },
  });
  await until("a first few records", () => offsets.length > 10);
  reader.pause([first, { topic, partitions: [2, 3] }]);
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

const listAndDescribe = (run) => withAdmin(run, async (admin) => {
  const group = run.topic("two");
  check((await admin.listGroups()).groups.some((one) => one.groupId === group), "the group is not listed");
  const { groups } = await admin.describeGroups([group]);
  check(groups[0].state === confluent.KafkaJS.ConsumerGroupStates.EMPTY, `the group is ${groups[0].state}`);
});

const offsetsByTime = (run) => withAdmin(run, async (admin) => {
  const topic = run.topic("none");
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map((one) => [one.partition, one.high]));
  const beginning = await admin.fetchTopicOffsetsByTimestamp(topic, 0);
  check(beginning.length === PARTITIONS && beginning.every((one) => Number(one.offset) === 0), "time 0 is not the beginning");
  const future = await admin.fetchTopicOffsetsByTimestamp(topic, Date.now() + 3_600_000);
  const none = (one) => ["-1", ends.get(one.partition)].includes(String(one.offset)); // the client says the end where there is none
  check(future.length === PARTITIONS && future.every(none), `the future is ${JSON.stringify(future)}`);
  const total = [...ends.values()].reduce((sum, one) => sum + Number(one), 0);
  check(total === RECORDS, `the ends add up to ${total}`);
});

/** The values of a topic, as seen under an isolation level; a little longer than until the last one. */
async function valuesOf(run, topic, isolation, wanted) {
  const found = [], settings = { "isolation.level": isolation };
  const reader = await consumer(run.bootstrap, run.topic(`${isolation}-${topic}`), topic, settings);
  await reader.run({ eachMessage: async ({ message }) => void found.push(String(message.value)) });
  await until(`${wanted} records`, () => found.length >= wanted);
  await pause(1000);
  await reader.disconnect();
  return found;
}

async function transactions(run) {
  const topic = await create(run, "transactions", 1), settings = { "transactional.id": run.topic("transactional") };
  const transact = async (producer, what) => {
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: transactionValues(what).map((one) => ({ value: one })) });
    await (what === "aborted" ? transaction.abort() : transaction.commit());
  };
  const first = kafka(run.bootstrap).producer(settings), second = kafka(run.bootstrap).producer(settings);
  await first.connect();
  await commitAbortCommit((what) => transact(first, what), (isolation, count) => valuesOf(run, topic, isolation, count));
  await second.connect();
  const late = await first.transaction();
  const purged = await late.send({ topic, messages: [{ value: "fenced" }] }).then(() => null, (error) => error);
  const fenced = await late.commit().then(() => new Error("the first producer is not fenced"), (error) => error);
  const codes = [ErrorCodes.ERR__FENCED, ErrorCodes.ERR_INVALID_PRODUCER_EPOCH, ErrorCodes.ERR_PRODUCER_FENCED];
  check(purged !== null && [...codes, ErrorCodes.ERR__FATAL].includes(fenced.code), `${purged}, then ${fenced} (${fenced.code})`);
  await transact(second, "second");
  await first.disconnect().catch(() => {}); // its transaction cannot be ended any more
  await second.disconnect();
}

async function transform(run) {
  const source = run.topic("gzip"), target = await create(run, "transformed", 1), group = run.topic("transform"), problems = [];
  const producer = kafka(run.bootstrap).producer({ "transactional.id": run.topic("transformer") });
  await producer.connect();
  const reader = await consumer(run.bootstrap, group, source, { "isolation.level": "read_committed" });
  let done = 0, count = 0;
  const once = async (messages, partition) => {
    const transaction = await producer.transaction();
    await transaction.send({ topic: target, messages: messages.map((one) => ({ value: String(one.value).toUpperCase() })) });
    const offset = String(BigInt(messages.at(-1).offset) + 1n);
    await transaction.sendOffsets({ consumer: reader, topics: [{ topic: source, partitions: [{ partition, offset }] }] });
    const committed = ++count % 3 !== 0;
    await (committed ? transaction.commit() : transaction.abort());
    return committed;
  };
  await reader.run({
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset }) => {
      const messages = batch.messages.slice(0, 1000), { partition } = batch;
      try {
        if (await once(messages, partition)) {
          done += messages.length;
          resolveOffset(messages.at(-1).offset);
        } else {
          const [{ offset }] = await reader.committed([{ topic: source, partition }], DEADLINE_MS);
          reader.seek({ topic: source, partition, offset: Number(offset) >= 0 ? String(offset) : "0" });
        }
      } catch (error) {
        problems.push(error);
      }
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
  await withProducer(kafka(run.bootstrap), { "enable.idempotence": true }, async (producer) => {
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
      "security.protocol": way.protocol.toLowerCase(),
      ...(way.protocol.includes("SSL") ? { "ssl.ca.location": way.authority } : {}),
      ...(way.mechanism ? { "sasl.mechanisms": way.mechanism, "sasl.username": way.user, "sasl.password": password } : {}),
    });
    const client = kafka(way.bootstrap, settings(way.password)), topic = run.topic("none");
    const marked = `${way.protocol} by ${way.mechanism}`;
    await withProducer(client, {}, (producer) => producer.send({ topic, messages: [{ partition: 0, value: marked }] }));
    const group = { "group.id": run.topic(`signed-in-${way.protocol}-${way.mechanism}`), "auto.offset.reset": "earliest" };
    const reader = client.consumer(group);
    let found = false;
    await reader.connect();
    await reader.subscribe({ topics: [topic] });
    await reader.run({ eachMessage: async ({ message }) => void (found ||= String(message.value) === marked) });
    await until(`the record of ${marked}`, () => found);
    await reader.disconnect();
    if (!way.mechanism) continue;
    await wrongPassword(way.bootstrap, settings("a wrong password"));
  }
}

/** The reason of a refusal is only logged: the client goes on trying to connect. */
async function wrongPassword(bootstrap, settings) {
  const said = [];
  const hear = (message) => void said.push(String(message));
  const logger = { info: hear, error: hear, warn: hear, debug: hear, namespace: () => logger, setLogLevel: () => {} };
  const kafkaJS = { brokers: [bootstrap], logLevel: logLevel.ERROR, logger };
  const refused = kafka(bootstrap, { ...settings, kafkaJS }).producer();
  let accepted = false;
  refused.connect().then(() => (accepted = true), hear);
  await until("the refusal", () => accepted || said.some((line) => /authentication/i.test(line)));
  check(!accepted, "a wrong password was accepted");
}

const deleteAll = (run) => withAdmin(run, async (admin) => {
  await admin.deleteGroups([run.topic("two")]);
  await admin.deleteTopics({ topics: run.topics, timeout: DEADLINE_MS });
  await until("the topics' end", async () => !(await admin.listTopics()).some((topic) => run.topics.includes(topic)));
});

const scenarios = {
  "create topic": createTopics,
  "administer a topic": "its admin client has no configs and does not add partitions",
  ...Object.fromEntries(COMPRESSIONS.map((compression) => [`produce ${compression}`, (run) => produce(run, compression)])),
  "idempotent producer": idempotent,
  "messages of 5 MiB": largeMessages,
  "1,000 partitions": wide,
  "consume in a group of two with a rebalance": groupOfTwo,
  "consume in a group of two, cooperatively": cooperative,
  "restart a static member": staticMember,
  "seek, pause, resume": seek,
  "list and describe groups": listAndDescribe,
  "reset offsets": "its admin client does not alter a group's offsets",
  "offsets by time": offsetsByTime,
  "transactions": transactions,
  "consume, transform, produce": transform,
  "consumer group of the new protocol": newProtocol,
  "share group": "it has no share consumer",
  "restart the broker": restart,
  "sign in": signIn,
  "delete": deleteAll,
};

await main(scenarios, { consumeUntil, countTheRest });
