// What every Node client does, as a list of named scenarios: the same list, and the same lines on stdout, as scenario.py.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

export const RECORDS = 10_000, KEYS = 100, PARTITIONS = 4, KILLED_AFTER = 3_000, DEADLINE_MS = 60_000;
export const COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"];
const PADDING = "x".repeat(80);

export const key = (number) => `key-${number % KEYS}`;
export const value = (number) => `value-${number}-${PADDING}`;
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Skipped extends Error {}

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

/** Waits for the condition, not for longer than the deadline. */
export async function until(what, condition) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
    await pause(10);
  }
}

/** Judges the records of one topic as they come: each exactly once, unchanged, in the order of its key. */
export class ReadBack {
  last = new Map();
  seen = new Set();
  error = null;

  add(recordKey, recordValue, numberHeader) {
    const number = Number(numberHeader), name = String(recordKey);
    if (this.error) return;
    if (String(recordValue) !== value(number) || name !== key(number)) this.error = `record ${number} is not what was sent`;
    else if (this.seen.has(number)) this.error = `record ${number} came twice`;
    else if ((this.last.get(name) ?? -1) > number) this.error = `record ${number} is out of order`;
    this.seen.add(number);
    this.last.set(name, number);
  }

  done() {
    return this.error !== null || this.seen.size === RECORDS;
  }

  judge() {
    check(this.error === null, this.error);
    check(this.seen.size === RECORDS, `${this.seen.size} records came back`);
  }
}

/**
 * Does every scenario of a client, which is an object of functions: createTopics, produce(run, compression), groupOfTwo,
 * consumeUntil(bootstrap, topic, group, ready) that commits at KILLED_AFTER, says so and goes on for ever,
 * countTheRest(run, topic, group, wanted), listAndDescribe, resetOffsets, offsetsByTime, deleteAll.
 */
export async function main(client) {
  const [option, bootstrap, topic, group] = process.argv.slice(2);
  if (option !== "--bootstrap" || !bootstrap) {
    console.error("usage: --bootstrap HOST:PORT");
    process.exit(2);
  }
  if (group) {
    await client.consumeUntil(bootstrap, topic, group, (count) => process.stdout.write(`ready ${count}\n`));
    process.exit(1);
  }
  const suffix = randomBytes(4).toString("hex");
  const run = { bootstrap, topic: (name) => `${name}-${suffix}`, topics: COMPRESSIONS.map((name) => `${name}-${suffix}`) };
  const scenarios = [
    ["create topic", client.createTopics],
    ...COMPRESSIONS.map((compression) => [`produce ${compression}`, () => client.produce(run, compression)]),
    ["consume in a group of two with a rebalance", client.groupOfTwo],
    ["commit, be killed, resume", () => killed(client, run)],
    ["list and describe groups", client.listAndDescribe],
    ["reset offsets", client.resetOffsets],
    ["offsets by time", client.offsetsByTime],
    ["delete", client.deleteAll],
  ];
  let failed = false;
  for (const [name, work] of scenarios) {
    const started = Date.now();
    let status = "passed", detail = "";
    try {
      await limited(work(run));
    } catch (error) {
      status = error instanceof Skipped ? "skipped" : "failed";
      detail = status === "skipped" ? error.message : String(error.stack ?? error);
      failed ||= status === "failed";
    }
    const row = { status, seconds: (Date.now() - started) / 1000, detail };
    process.stdout.write(`{"scenario": ${JSON.stringify(name)}, ${JSON.stringify(row).slice(1)}\n`);
  }
  process.exit(failed ? 1 : 0);
}

/** A scenario that hangs fails: twice the deadline is for those that wait for two things. */
async function limited(work) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("the scenario hangs")), 2 * DEADLINE_MS)));
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function killed(client, run) {
  const topic = run.topic("lz4"), group = run.topic("killed");
  const victim = spawn(process.execPath, [process.argv[1], "--bootstrap", run.bootstrap, topic, group], { stdio: ["ignore", "pipe", "inherit"] });
  const timer = setTimeout(() => victim.kill("SIGKILL"), DEADLINE_MS);
  let before;
  for await (const line of createInterface({ input: victim.stdout })) {
    if (line.startsWith("ready ")) {
      before = Number(line.split(" ")[1]);
      break;
    }
  }
  clearTimeout(timer);
  victim.kill("SIGKILL");
  check(before > 0, "the first consumer did not get that far");
  const count = await client.countTheRest(run, topic, group, RECORDS - before);
  check(count === RECORDS - before, `${count} records came after the resume instead of ${RECORDS - before}`);
}
