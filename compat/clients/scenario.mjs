// What every Node client does, as a list of named scenarios: the same list, and the same lines on stdout, as scenario.py.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

export const RECORDS = 10_000, KEYS = 100, PARTITIONS = 4, KILLED_AFTER = 3_000, DEADLINE_MS = 60_000;
export const COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"];
export const WIDE = 1_000, LARGE_BYTES = 5 * 1024 * 1024, LARGE_LIMIT_BYTES = 6 * 1024 * 1024;
export const RESTART_RECORDS = 5_000, RESTART_AFTER = 1_000, RESTART_COMMITTED = 500;
const TRANSACTION_RECORDS = 100, RESTART_AT_ONCE = 100;
const NAMES = [
  "create topic",
  "administer a topic",
  ...COMPRESSIONS.map((compression) => `produce ${compression}`),
  "idempotent producer",
  "messages of 5 MiB",
  "1,000 partitions",
  "consume in a group of two with a rebalance",
  "consume in a group of two, cooperatively",
  "restart a static member",
  "commit, be killed, resume",
  "seek, pause, resume",
  "list and describe groups",
  "reset offsets",
  "offsets by time",
  "transactions",
  "consume, transform, produce",
  "consumer group of the new protocol",
  "share group",
  "restart the broker",
  "sign in",
  "delete",
];
const PADDING = "x".repeat(80);

export const key = (number) => `key-${number % KEYS}`;
export const value = (number) => `value-${number}-${PADDING}`;
export const range = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);
/** The value of a large message; none is like another. */
export const large = (number) => Buffer.alloc(LARGE_BYTES, `${String(number).padStart(7, "0")}.`);
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Skipped extends Error {}

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export const same = (found, wanted) => JSON.stringify(found) === JSON.stringify(wanted);

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

/** What a group committed, partition by partition, is all of a topic's records. */
export function checkCommitted(offsets) {
  check(offsets.reduce((sum, one) => sum + Number(one), 0) === RECORDS, `${offsets} was committed`);
}

/** The records of a transaction; each begins with what becomes of it. */
export const transactionValues = (what) => range(0, TRANSACTION_RECORDS).map((number) => `${what}-${number}`);

/** Three transactions by `transact(what)`, the second one aborted; `read(isolation, count)` must give the right ones, in order. */
export async function commitAbortCommit(transact, read) {
  for (const what of ["committed", "aborted", "again"]) await transact(what);
  const seen = { read_committed: ["committed", "again"], read_uncommitted: ["committed", "aborted", "again"] };
  for (const [isolation, outcomes] of Object.entries(seen)) {
    const wanted = outcomes.flatMap(transactionValues), found = await read(isolation, wanted.length);
    check(same(found, wanted), `${found.length} records are seen ${isolation}`);
  }
}

/** Each of the records is there once, in capitals. */
export function checkTransformed(found) {
  const wanted = range(0, RECORDS).map((number) => value(number).toUpperCase());
  check(same(found.toSorted(), wanted.sort()), `${found.length} records were transformed`);
}

/**
 * Sends the records of the restart by `send(from, to)`, and restarts the broker when the first of them are acknowledged; the rest are sent
 * so slowly that the broker is away for some. In between, `before()` reads and commits some; in the end `after()` reads the rest.
 */
export async function sendThroughRestart(send, before, after) {
  const sendAll = async (from, to, rest) => {
    for (let start = from; start < to; start += RESTART_AT_ONCE) {
      await send(start, start + RESTART_AT_ONCE);
      await pause(rest);
    }
  };
  await sendAll(0, RESTART_AFTER, 0);
  const seen = await before();
  await Promise.all([restartBroker(), sendAll(RESTART_AFTER, RESTART_RECORDS, 100)]);
  seen.push(...(await after()));
  check(same(seen.sort(), range(0, RESTART_RECORDS).map(value).sort()), "not every record is there once");
}

/** Back when the broker is there again, on the same port and data. */
async function restartBroker() {
  const [host, port] = address("COMPAT_CONTROL", "nobody is there to restart the broker");
  const control = connect({ host, port });
  control.write("restart\n");
  let answer = "";
  for await (const line of createInterface({ input: control })) {
    answer = line;
    break;
  }
  control.destroy();
  check(answer === "restarted", `the broker was not restarted, but said ${JSON.stringify(answer)}`);
}

/** TLS alone, SASL alone by each mechanism, and both together. */
export function waysToSignIn() {
  const ways = [["SSL", null], ...["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map((one) => ["SASL_PLAINTEXT", one]), ["SASL_SSL", "PLAIN"]];
  const { COMPAT_USER: user, COMPAT_PASSWORD: password, COMPAT_CA: authority } = process.env;
  return ways.map(([protocol, mechanism]) => {
    const bootstrap = address(`COMPAT_${protocol}`, "the broker has no secure listeners here").join(":");
    return { protocol, mechanism, bootstrap, user, password, authority };
  });
}

function address(variable, otherwise) {
  const [host, port] = (process.env[variable] ?? "").split(":");
  if (!port) throw new Skipped(`${otherwise} (${variable} is not set)`);
  return [host, Number(port)];
}

/**
 * Does the scenarios of a client: `scenarios` has a function of the run, or the sentence why this client cannot, under each name.
 * "commit, be killed, resume" is made of consumeUntil(bootstrap, topic, group, ready), which commits at KILLED_AFTER, says so and goes on
 * for ever, and countTheRest(run, topic, group, wanted).
 */
export async function main(scenarios, { consumeUntil, countTheRest }) {
  const names = ["bootstrap", "scenarios", "topic", "group"];
  const { values: told } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
  if (!told.bootstrap) {
    console.error("usage: --bootstrap HOST:PORT [--scenarios WORD,WORD]");
    process.exit(2);
  }
  if (told.group) {
    await consumeUntil(told.bootstrap, told.topic, told.group, (count) => process.stdout.write(`ready ${count}\n`));
    process.exit(1);
  }
  const suffix = randomBytes(4).toString("hex");
  const topics = COMPRESSIONS.map((name) => `${name}-${suffix}`);
  const run = { bootstrap: told.bootstrap, topic: (name) => `${name}-${suffix}`, topics };
  const words = told.scenarios ? [...told.scenarios.split(","), "create topic"] : [""];
  const all = { "commit, be killed, resume": () => killed(countTheRest, run), ...scenarios };
  const missing = new Map((process.env.COMPAT_NOT_SERVED ?? "").split("\n").map((line) => line.split(/: (.*)/)));
  let failed = false;
  for (const name of NAMES.filter((one) => words.some((word) => one.includes(word)))) {
    const started = Date.now();
    const [status, detail] = missing.has(name) ? ["not served", missing.get(name)] : await outcome(all[name], run);
    failed ||= status === "failed";
    const row = { status, seconds: (Date.now() - started) / 1000, detail };
    process.stdout.write(`{"scenario": ${JSON.stringify(name)}, ${JSON.stringify(row).slice(1)}\n`);
  }
  process.exit(failed ? 1 : 0);
}

/** The status of one scenario, and the detail. */
async function outcome(work, run) {
  if (typeof work === "string") return ["skipped", work];
  try {
    check(work, "the script has no such scenario");
    await limited(work(run));
    return ["passed", ""];
  } catch (error) {
    return error instanceof Skipped ? ["skipped", error.message] : ["failed", `${error.stack}\n${reasons(error)}`];
  }
}

/** What an error says, and then those that it stands for. */
const reasons = (error) => [String(error), ...[error.cause, ...(error.errors ?? [])].filter(Boolean).map(reasons)].join(", because of ");

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

async function killed(countTheRest, run) {
  const topic = run.topic("lz4"), group = run.topic("killed");
  const victim = spawn(
    process.execPath,
    [process.argv[1], "--bootstrap", run.bootstrap, "--topic", topic, "--group", group],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
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
  const count = await countTheRest(run, topic, group, RECORDS - before);
  check(count === RECORDS - before, `${count} records came after the resume instead of ${RECORDS - before}`);
}

/** Work with an admin client, or a producer, which is connected for just that long. */
export async function connected(made, work) {
  await made.connect();
  try {
    return await work(made);
  } finally {
    await made.disconnect();
  }
}
