// @platformatic/kafka, by its promises and streams, as a user would use it.
import {
  Admin,
  ConfigResourceTypes,
  Consumer,
  consumerGroupDescribeV0,
  COOPERATIVE_STICKY_ASSIGNOR,
  FetchIsolationLevels,
  findErrorBy,
  GroupProtocols,
  IncrementalAlterConfigOperationTypes,
  ListOffsetTimestamps,
  MessagesStreamFallbackModes,
  MessagesStreamModes,
  Producer,
  stringDeserializers,
  stringSerializers,
} from "@platformatic/kafka";
import { readFileSync } from "node:fs";
import {
  check,
  checkCommitted,
  checkTransformed,
  commitAbortCommit,
  COMPRESSIONS,
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
  same,
  sendThroughRestart,
  transactionValues,
  until,
  value,
  waysToSignIn,
  WIDE,
} from "../scenario.mjs";

const numbers = range(0, PARTITIONS);

const client = (bootstrap) => ({ clientId: "scenarios", bootstrapBrokers: [bootstrap], retryDelay: 200 });

/** Work with an admin client, or a producer, which is closed after it. */
async function closing(made, work) {
  try {
    return await work(made);
  } finally {
    await made.close();
  }
}

const withAdmin = (run, work) => closing(new Admin(client(run.bootstrap)), work);
const producer = (bootstrap, settings = {}) => new Producer({ ...client(bootstrap), serializers: stringSerializers, ...settings });
const withProducer = (run, settings, work) => closing(producer(run.bootstrap, settings), work);
const refusal = (promise) => promise.then(() => new Error("it was not refused"), (error) => error);
/** What is at the bottom of an error. */
const reasonOf = (error) => {
  const cause = error.cause ?? error.errors?.[0];
  return cause ? reasonOf(cause) : (error.apiId ?? String(error));
};
const saysWhy = (error, ...names) => names.some((name) => findErrorBy(error, "apiId", name));

/** A consumer that gives its messages to a function, one after the other; what goes wrong with it is thrown where one waits for it. */
class Reader {
  /** The partitions that it had, each time that it was told of a change. */
  told = [];

  constructor(bootstrap, groupId, settings = {}) {
    const group = settings.groupProtocol ? {} : { sessionTimeout: 6000, rebalanceTimeout: 30_000, heartbeatInterval: 500 };
    const own = { deserializers: stringDeserializers, autocommit: false, maxWaitTime: 200, ...group };
    this.consumer = new Consumer({ ...client(bootstrap), groupId, ...own, ...settings });
    this.consumer.on("error", (error) => (this.problem ??= error));
    for (const event of ["join", "rebalance"]) this.consumer.on(`consumer:group:${event}`, () => this.told.push(this.has()));
  }

  async read(topic, each, options = {}) {
    const start = { mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST };
    this.stream = await this.consumer.consume({ topics: [topic], ...start, ...options });
    this.reading = this.giveOut(this.stream, each).catch((error) => (this.problem ??= error));
    return this;
  }

  async giveOut(stream, each) {
    for await (const message of stream) await each(message);
  }

  has() {
    return (this.consumer.assignments ?? []).flatMap((one) => one.partitions).sort((one, other) => one - other);
  }

  async until(what, condition) {
    await until(what, () => {
      if (this.problem) throw this.problem;
      return condition();
    });
  }

  /** The stream is closed first: a consumer that is being closed commits no more. */
  async close() {
    await this.stream.close();
    await this.reading;
    await this.consumer.close(true);
  }
}

const reader = (bootstrap, group, topic, each, settings = {}) => new Reader(bootstrap, group, settings).read(topic, each);

/** A topic, made and with its leaders; its name. */
async function create(run, name, partitions, configs = []) {
  const topic = run.topic(name);
  await withAdmin(run, async (admin) => {
    const [made] = await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs });
    check(made.partitions === partitions, JSON.stringify(made));
    await until("the topic's leaders", async () => {
      const found = await partitionsOf(admin, topic).catch(() => []);
      return found.length === partitions && found.every((one) => one.leader >= 0);
    });
  });
  return topic;
}

const partitionsOf = async (admin, topic) => (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitions;

async function createTopics(run) {
  for (const name of COMPRESSIONS) await create(run, name, PARTITIONS);
}

async function produce(run, compression) {
  const topic = run.topic(compression);
  await withProducer(run, { idempotent: true, compression }, async (made) => {
    const message = (number) => ({ topic, key: key(number), value: value(number), headers: { number: String(number) } });
    for (let start = 0; start < RECORDS; start += 1000) await made.send({ messages: range(start, start + 1000).map(message) });
  });
  const judge = new ReadBack();
  const back = await reader(run.bootstrap, run.topic(`check-${compression}`), topic, (message) =>
    judge.add(message.key, message.value, message.headers.get("number")));
  await back.until("reading back", () => judge.done());
  await back.close();
  judge.judge();
}

const administer = (run) => withAdmin(run, async (admin) => {
  const topic = run.topic("admin"), asked = { topics: [topic], partitions: 2, replicas: 1 };
  await admin.createTopics({ ...asked, configs: [{ name: "retention.ms", value: "3600000" }] });
  await until("the topic in the list", async () => (await admin.listTopics()).includes(topic));
  const partitions = await partitionsOf(admin, topic);
  check(partitions.length === 2 && partitions.every((one) => one.leader >= 0), JSON.stringify(partitions));
  const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic };
  const retention = async () => {
    const [{ configs }] = await admin.describeConfigs({ resources: [{ ...resource, configurationKeys: ["retention.ms"] }] });
    return configs.find((one) => one.name === "retention.ms").value;
  };
  check((await retention()) === "3600000", `retention.ms is ${await retention()}`);
  const longer = { name: "retention.ms", value: "7200000", configOperation: IncrementalAlterConfigOperationTypes.SET };
  await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [longer] }] });
  await until("the altered config", async () => (await retention()) === "7200000");
  await admin.createPartitions({ topics: [{ name: topic, count: 5, assignments: null }] });
  await until("five partitions", async () => (await partitionsOf(admin, topic)).length === 5);
  const again = await refusal(admin.createTopics(asked));
  check(saysWhy(again, "TOPIC_ALREADY_EXISTS"), `created again: ${again}`);
  await admin.deleteTopics({ topics: [topic] });
  await until("the topic's end", async () => !(await admin.listTopics()).includes(topic));
});

async function idempotent(run) {
  const topic = await create(run, "idempotent", 1);
  await withProducer(run, { idempotent: true }, async (made) => {
    const starts = range(0, RECORDS / 100).map((batch) => batch * 100);
    const sent = await Promise.all(starts.map((start) =>
      made.send({ messages: range(start, start + 100).map((number) => ({ topic, value: value(number) })) })));
    const wrong = starts.filter((start, index) => Number(sent[index].offsets[0].offset) !== start);
    check(wrong.length === 0, `the records from ${wrong} are not at their place`);
  });
}

async function largeMessages(run) {
  const topic = await create(run, "large", 1, [{ name: "max.message.bytes", value: String(LARGE_LIMIT_BYTES) }]);
  await withProducer(run, { serializers: undefined }, async (made) => {
    for (const number of range(0, 3)) await made.send({ messages: [{ topic, value: large(number) }] });
    const refused = await refusal(made.send({ messages: [{ topic: run.topic("none"), value: large(0) }] }));
    check(saysWhy(refused, "MESSAGE_TOO_LARGE"), `too large a message: ${refused}`);
  });
  const found = [], each = (message) => void found.push(message.value);
  const back = await reader(run.bootstrap, run.topic("large"), topic, each, { deserializers: undefined });
  await back.until("three large messages", () => found.length >= 3);
  await back.close();
  check(found.length === 3 && found.every((one, number) => one.equals(large(number))), "what came back is something else");
}

async function wide(run) {
  const topic = await create(run, "wide", WIDE);
  const messages = range(0, WIDE).map((partition) => ({ topic, partition, value: value(partition) }));
  await withProducer(run, { idempotent: true }, (made) => made.send({ messages }));
  const found = new Map();
  let count = 0;
  const back = await reader(run.bootstrap, run.topic("wide"), topic, (message) => {
    count++;
    found.set(message.partition, message.value);
  });
  await back.until("a record of each partition", () => found.size === WIDE);
  await back.close();
  check(count === WIDE && range(0, WIDE).every((number) => found.get(number) === value(number)), "not one of each");
  await withAdmin(run, (admin) => admin.deleteTopics({ topics: [topic] }));
}

const committedBy = (run, groupId) => withAdmin(run, async (admin) => {
  const [found] = await admin.listConsumerGroupOffsets({ groups: [groupId] });
  return found.topics.flatMap((one) => one.partitions).map((one) => one.committedOffset);
});

/** A member of a group that notes what it sees. */
async function join(run, topic, group, positions, settings) {
  const slowly = { autocommit: 200, maxBytesPerPartition: 1, highWaterMark: 1 }; // a batch a partition and fetch
  let count = 0;
  const each = async ({ partition, offset }) => {
    positions.add(`${partition}:${offset}`);
    if (++count % 100 === 0) await pause(20); // the first is still reading when the second comes
  };
  return await reader(run.bootstrap, group, topic, each, { ...slowly, ...settings });
}

/** A first member has everything, a second one half; everything is seen and committed. Gives the first member. */
async function shareOut(run, topic, group, settings, whileTwo) {
  const positions = new Set(), first = await join(run, topic, group, positions, settings);
  await first.until("the first member's records", () => positions.size >= 1000);
  check(first.has().length === PARTITIONS, `alone it has ${first.has()}`);
  const second = await join(run, topic, group, positions, settings);
  await first.until("both members' records and shares", () => {
    if (second.problem) throw second.problem;
    return positions.size === RECORDS && first.has().length === PARTITIONS / 2 && second.has().length === PARTITIONS / 2;
  });
  check(String([...first.has(), ...second.has()].sort()) === String(numbers), `they have ${first.has()} and ${second.has()}`);
  await withAdmin(run, whileTwo);
  await first.close();
  await second.close();
  checkCommitted(await committedBy(run, group));
  return first;
}

/** Whether the group has two members under the protocol. */
const described = (group, protocol) => async (admin) => {
  const found = (await admin.describeGroups({ groups: [group] })).get(group);
  check(found.members.size === 2 && found.protocol === protocol, `the group is ${found.protocol} of ${found.members.size}`);
};

async function groupOfTwo(run) {
  const group = run.topic("two");
  await shareOut(run, run.topic("gzip"), group, {}, described(group, "roundrobin"));
}

async function cooperative(run) {
  const group = run.topic("cooperative"), protocol = COOPERATIVE_STICKY_ASSIGNOR;
  const settings = { protocols: [{ name: protocol, version: 3 }] };
  const { told } = await shareOut(run, run.topic("zstd"), group, settings, described(group, protocol));
  const [kept, again] = told.slice(-2); // it gave two up, and joined once more without them
  const all = kept.length === PARTITIONS / 2 && same(kept, again) && told.every((had) => kept.every((one) => had.includes(one)));
  check(all, `the first member had ${told.join(" then ")}`);
}

async function newProtocol(run) {
  const group = run.topic("new");
  await shareOut(run, run.topic("lz4"), group, { groupProtocol: GroupProtocols.CONSUMER }, async (admin) => {
    const listed = (await admin.listGroups({ types: [GroupProtocols.CONSUMER] })).get(group);
    check(listed?.state === "Stable", `the group is ${JSON.stringify(listed)}`);
    const [connection] = (await admin.connectToBrokers()).values(); // its admin client has no words for this, but its protocol has
    const { groups } = await consumerGroupDescribeV0.api.async(connection, [group], false);
    check(groups[0].members.length === 2, JSON.stringify(groups));
  });
}

async function staticMember(run) {
  const topic = run.topic("snappy"), group = run.topic("static");
  const member = (groupInstanceId) => join(run, topic, group, new Set(), { groupInstanceId, sessionTimeout: 30_000, autocommit: false });
  const one = await member("one");
  let two = await member("two");
  await one.until("two partitions each", () => one.has().length === 2 && two.has().length === 2);
  const before = String(two.has()), changes = one.told.length;
  await two.consumer.connections.close(); // close() alone would say that it leaves, and give up its place
  await two.close();
  two = await member("two");
  await two.until("the member's partitions", () => two.has().length >= 2);
  await pause(2000);
  check(String(two.has()) === before, `it had ${before}, and has ${two.has()}`);
  check(one.told.length === changes, `the other member saw a rebalance: ${one.told.join(" then ")}`);
  await one.close();
  await two.close();
}

const nextOf = ({ topic, partition, offset, leaderEpoch }) => ({ topic, partition, offset: offset + 1n, leaderEpoch });

async function consumeUntil(bootstrap, topic, group, ready) {
  const next = new Map();
  let count = 0;
  const victim = await reader(bootstrap, group, topic, async (message) => {
    next.set(message.partition, nextOf(message));
    if (++count !== KILLED_AFTER) return;
    await victim.consumer.commit({ offsets: [...next.values()] });
    ready(count);
  });
  await victim.until("its end", () => false);
}

async function countTheRest(run, topic, group, wanted) {
  let count = 0;
  const rest = await reader(run.bootstrap, group, topic, () => void count++);
  await rest.until("the rest", () => count >= wanted);
  await pause(500);
  await rest.close();
  return count;
}

/**
 * A stream starts where it is told, but is paused as a whole, so one partition is paused by fetch(), where each call names its partitions:
 * what the last call had and this one has not leaves the fetch session.
 */
async function seek(run) {
  const topic = run.topic("none"), { MANUAL, LATEST } = MessagesStreamModes, offsets = [[], []];
  const sought = new Reader(run.bootstrap, run.topic("seek"));
  const each = ({ partition, offset }) => void offsets[partition].push(Number(offset));
  const from = { offsets: [[0, 5n], [1, 0n]].map(([partition, offset]) => ({ topic, partition, offset })) };
  await sought.read(topic, each, { mode: MANUAL, fallbackMode: MessagesStreamFallbackModes.LATEST, ...from, maxBytesPerPartition: 1 });
  await sought.until("the records after the seek", () => offsets.every((one) => one.length > 10));
  check(offsets[0][0] === 5 && offsets[1][0] === 0, `after the seek come ${offsets.map((one) => one[0])}`);
  await sought.stream.close();
  const ends = (await sought.consumer.listOffsets({ topics: [topic] })).get(topic);
  const poll = await poller(sought.consumer, topic, [5, 0]);
  const read = [0, 1].map(() => []);
  const several = async (times, partitions) => {
    const before = read.map((one) => one.length);
    for (let count = 0; count < times; count++) for (const { partition, offset } of await poll(partitions)) read[partition].push(offset);
    return read.map((one, partition) => one.length - before[partition]);
  };
  check((await several(5, [0, 1])).every((count) => count > 0), "not both partitions are read");
  const [paused, other] = await several(50, [1]);
  check(paused === 0 && other > 0, `while paused came ${paused} and ${other} records`);
  check((await several(5, [0, 1]))[0] > 0, "nothing comes after the pause");
  check(read.every((one, partition) => one.every((offset, index) => offset === [5, 0][partition] + index)), "around the pause is a gap");
  const last = await sought.consumer.consume({ topics: [topic], mode: LATEST });
  await until("the position at the end", () => last.offsetsToFetch.size === PARTITIONS);
  const position = last.offsetsToFetch.get(`${topic}:0`);
  check(position === ends[0] && position > 0n, `at the end the position is ${position}`);
  await sought.close();
}

/** Gives, by fetch(), the next few records of just those partitions that are named. */
async function poller(consumer, topic, positions) {
  const { id, partitions: leaders } = (await consumer.metadata({ topics: [topic] })).topics.get(topic);
  return async (partitions) => {
    const wanted = partitions.map((partition) => ({
      partition,
      fetchOffset: BigInt(positions[partition]),
      partitionMaxBytes: 1,
      currentLeaderEpoch: -1,
      lastFetchedEpoch: -1,
    }));
    const { responses } = await consumer.fetch({ node: leaders[0].leader, topics: [{ topicId: id, partitions: wanted }] });
    return responses.flatMap((one) => one.partitions).flatMap(({ partitionIndex: partition, records }) => {
      const all = records.flatMap((batch) => batch.records.map((one) => Number(batch.firstOffset) + one.offsetDelta));
      const next = all.filter((offset) => offset >= positions[partition]).slice(0, 20);
      positions[partition] += next.length;
      return next.map((offset) => ({ partition, offset }));
    });
  };
}

const listAndDescribe = (run) => withAdmin(run, async (admin) => {
  const group = run.topic("two");
  check((await admin.listGroups()).has(group), "the group is not listed");
  const { state } = (await admin.describeGroups({ groups: [group] })).get(group);
  check(state === "Empty", `the group is ${state}`);
});

async function resetOffsets(run) {
  const name = run.topic("gzip"), groupId = run.topic("two");
  const partitionOffsets = numbers.map((partition) => ({ partition, offset: 7n }));
  await withAdmin(run, (admin) => admin.alterConsumerGroupOffsets({ groupId, topics: [{ name, partitionOffsets }] }));
  const found = await committedBy(run, groupId);
  check(String(found) === "7,7,7,7", `${found} after the reset`);
}

const offsetsByTime = (run) => withAdmin(run, async (admin) => {
  const name = run.topic("none");
  const at = async (timestamp) => {
    const asked = numbers.map((partitionIndex) => ({ partitionIndex, timestamp }));
    const [{ partitions }] = await admin.listOffsets({ topics: [{ name, partitions: asked }] });
    return partitions.map((one) => Number(one.offset));
  };
  check(String(await at(0n)) === "0,0,0,0", "time 0 is not the beginning");
  check(String(await at(BigInt(Date.now() + 3_600_000))) === "-1,-1,-1,-1", "the future has an offset");
  const ends = await at(ListOffsetTimestamps.LATEST);
  check(ends.reduce((sum, one) => sum + one, 0) === RECORDS, `the ends are ${ends}`);
});

/** The values of a topic, as seen under an isolation level; a little longer than until the last one. */
async function valuesOf(run, topic, isolation, wanted, settings = {}) {
  const found = [], own = { isolationLevel: FetchIsolationLevels[isolation.toUpperCase()], ...settings };
  const back = await reader(run.bootstrap, run.topic(`${isolation}-${topic}`), topic, (message) => void found.push(message.value), own);
  await back.until(`${wanted} records`, () => found.length >= wanted);
  await pause(1000);
  await back.close();
  return found;
}

/** It would ask for producer id 0 of epoch 0 if it were not told that it has none yet, and Kafka lets nobody but the first have that. */
const transactional = (run, name) => {
  const none = { producerId: -1n, producerEpoch: -1 };
  return producer(run.bootstrap, { idempotent: true, transactionalId: run.topic(name), retries: 20, ...none });
};

async function transactions(run) {
  const topic = await create(run, "transactions", 1);
  const transact = async (made, what) => {
    const transaction = await made.beginTransaction();
    await transaction.send({ messages: transactionValues(what).map((one) => ({ topic, value: one })) });
    await (what === "aborted" ? transaction.abort() : transaction.commit());
  };
  const first = transactional(run, "transactional"), second = transactional(run, "transactional");
  await commitAbortCommit((what) => transact(first, what), (isolation, count) => valuesOf(run, topic, isolation, count));
  await transact(second, "second");
  const fenced = await refusal(transact(first, "fenced"));
  check(saysWhy(fenced, "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"), reasonOf(fenced));
  await first.close();
  await second.close();
}

async function transform(run) {
  const source = run.topic("gzip"), target = await create(run, "transformed", 1), group = run.topic("transform");
  const made = transactional(run, "transformer"), consuming = new Reader(run.bootstrap, group, { maxBytesPerPartition: 1 });
  let done = 0, count = 0, messages = [];
  /** Whether it was committed. */
  const once = async () => {
    const transaction = await made.beginTransaction();
    await transaction.addConsumer(consuming.consumer);
    await transaction.send({ messages: messages.map((one) => ({ topic: target, value: one.value.toUpperCase() })) });
    for (const last of new Map(messages.map((one) => [one.partition, one])).values()) await transaction.addOffset(last);
    const committed = ++count % 3 !== 0;
    await (committed ? transaction.commit() : transaction.abort());
    return committed;
  };
  while (done < RECORDS) {
    let again = false;
    messages = [];
    await consuming.read(source, async (message) => {
      if (again || messages.push(message) < Math.min(1000, RECORDS - done)) return;
      if (await once()) done += messages.length;
      else again = true; // the next stream begins at what is committed
      messages = [];
    });
    await consuming.until("the records until the next abort", () => again || done >= RECORDS);
    await consuming.stream.close();
  }
  await consuming.close();
  await made.close();
  // Of each producer it hides one aborted transaction an answer, and that only if the answer has its end: an answer is to have just one.
  checkTransformed(await valuesOf(run, target, "read_committed", RECORDS, { maxBytesPerPartition: 150_000 }));
  checkCommitted(await committedBy(run, group));
}

async function restart(run) {
  const topic = await create(run, "restart", PARTITIONS), group = run.topic("restart");
  const read = async (wanted, work) => {
    const seen = [], next = new Map();
    const back = await reader(run.bootstrap, group, topic, (message) => {
      if (seen.length >= wanted) return;
      seen.push(message.value);
      next.set(message.partition, nextOf(message));
    });
    await back.until(`${wanted} records`, () => seen.length >= wanted);
    await work(back.consumer, [...next.values()]);
    await back.close();
    return seen;
  };
  await withProducer(run, { idempotent: true }, async (made) => {
    let lost = 0;
    made.on("client:broker:disconnect", () => lost++);
    await sendThroughRestart(
      (from, to) => made.send({ messages: range(from, to).map((number) => ({ topic, key: key(number), value: value(number) })) }),
      () => read(RESTART_COMMITTED, (consumer, offsets) => consumer.commit({ offsets })),
      () => read(RESTART_RECORDS - RESTART_COMMITTED, () => pause(500)),
    );
    check(lost > 0, "the producer never lost the broker");
  });
}

async function signIn(run) {
  const topic = run.topic("none");
  for (const way of waysToSignIn()) {
    const settings = (password) => ({
      ...(way.protocol.includes("SSL") ? { tls: { ca: [readFileSync(way.authority)] } } : {}),
      ...(way.mechanism ? { sasl: { mechanism: way.mechanism, username: way.user, password } } : {}),
    });
    const marked = `${way.protocol} by ${way.mechanism}`, messages = [{ topic, partition: 0, value: marked }];
    await closing(producer(way.bootstrap, settings(way.password)), (made) => made.send({ messages }));
    let found = false;
    const group = run.topic(`signed-in-${way.protocol}-${way.mechanism}`);
    const back = await reader(way.bootstrap, group, topic, (message) => (found ||= message.value === marked), settings(way.password));
    await back.until(`the record of ${marked}`, () => found);
    await back.close();
    if (!way.mechanism) continue;
    const refused = await refusal(closing(producer(way.bootstrap, settings("a wrong password")), (made) => made.send({ messages })));
    check(reasonOf(refused) === "SASL_AUTHENTICATION_FAILED", `${marked}: ${reasonOf(refused)}: ${refused}`);
  }
}

const deleteAll = (run) => withAdmin(run, async (admin) => {
  const group = run.topic("two");
  await admin.deleteGroups({ groups: [group] });
  check(!(await admin.listGroups()).has(group), "the group is still listed");
  await admin.deleteTopics({ topics: run.topics });
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
  "consume in a group of two, cooperatively": cooperative,
  "restart a static member": staticMember,
  "seek, pause, resume": seek,
  "list and describe groups": listAndDescribe,
  "reset offsets": resetOffsets,
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
