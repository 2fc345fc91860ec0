// BullMQ: `adapter.cjs about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
//
// Setting: one Worker with concurrency 100, the lower end of what BullMQ's guide calls standard for
// jobs that wait (100 to 300): https://docs.bullmq.io/guide/parallelism-and-concurrency. These do
// not wait, for which it advises little. 50 and 300, a few runs each, were not told apart.
// Completed jobs are removed but for the last 5,000, as the guide to production advises:
// https://docs.bullmq.io/guide/going-to-production (all at once would be faster, but then waits
// fail whose job is gone before they look).
//
// Waiting: `job.waitUntilFinished(queueEvents)`, one QueueEvents for all callers:
// https://docs.bullmq.io/guide/events
//
// A CommonJS file, because only those look for packages in NODE_PATH.
"use strict";

const { Queue, QueueEvents, Worker } = require("bullmq");

const CONCURRENCY = 100;
const KEPT = 5000;
const LONGEST_MS = 60_000;

function connection() {
  const { hostname, port } = new URL(process.env.REDIS_URL);
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null };
}

function work() {
  const add = async (job) => ({ answer: job.data.a + job.data.b });
  const worker = new Worker("competitor", add, { connection: connection(), concurrency: CONCURRENCY });
  worker.on("error", (error) => console.error(error));
}

async function allCallers(one, callers, lastsMs) {
  const seen = { times: [], errors: 0, last: null };
  const began = performance.now();
  const caller = async () => {
    while (performance.now() - began < lastsMs) {
      const called = performance.now();
      try {
        const { answer } = await one();
        if (answer !== 3) throw new Error(`${answer} is not the sum`);
        seen.times.push(performance.now() - called);
      } catch (error) {
        seen.errors += 1;
        seen.last = error;
      }
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { ...seen, took: (performance.now() - began) / 1000 };
}

function report({ times, errors, last, took }) {
  if (errors) console.error(`${errors} calls failed, the last with ${last}`);
  const sorted = Float64Array.from(times).sort();
  const at = (quantile) => 1000 * (sorted[Math.ceil(quantile * sorted.length) - 1] ?? 0);
  const figures = {
    calls_per_s: sorted.length / took,
    p50_us: at(0.5),
    p99_us: at(0.99),
    p999_us: at(0.999),
    calls: sorted.length,
    errors,
  };
  console.log(JSON.stringify(figures));
}

async function call(callers, warmUpMs, lastsMs) {
  const queue = new Queue("competitor", { connection: connection() });
  const events = new QueueEvents("competitor", { connection: connection() });
  // Each waiting caller listens.
  queue.setMaxListeners(0);
  events.setMaxListeners(0);
  await events.waitUntilReady();
  const options = { removeOnComplete: { count: KEPT }, removeOnFail: { count: KEPT } };
  const one = async () => {
    const job = await queue.add("add", { a: 1, b: 2 }, options);
    return job.waitUntilFinished(events, LONGEST_MS);
  };
  await one();
  await allCallers(one, callers, warmUpMs);
  report(await allCallers(one, callers, lastsMs));
  process.exit(0);
}

const [verb, ...numbers] = process.argv.slice(2);
if (verb === "about") {
  const version = (name) => require(`${name}/package.json`).version;
  const { bullmq, ioredis } = { bullmq: version("bullmq"), ioredis: version("ioredis") };
  console.log(`bullmq ${bullmq}, ioredis ${ioredis}, Node ${process.versions.node}`);
  console.log(`concurrency ${CONCURRENCY}, the last ${KEPT} jobs kept; waitUntilFinished`);
} else if (verb === "worker") {
  work();
} else {
  call(...numbers.map(Number));
}
