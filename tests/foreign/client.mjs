// A client written against the .proto files alone: score, filter, be refused, be cancelled. What it saw goes to stdout as JSON.
// node client.mjs ADDRESS PROTO_FOLDER GOOGLE_FOLDER < documents.json
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, ...includeDirs] = process.argv.slice(2);
const documents = JSON.parse(readFileSync(0, "utf-8"));
const BATCH = 16;

const files = ["scoring", "catalog", "jobs", "common"].map((name) => `curator/api/v1/${name}.proto`);
const definition = loader.loadSync(files, { includeDirs, keepCase: true, longs: Number, enums: String, oneofs: true });
const api = grpc.loadPackageDefinition(definition).curator.api.v1;
const credentials = grpc.credentials.createInsecure();
const scoring = new api.ScoringService(address, credentials);
const catalog = new api.CatalogService(address, credentials);

const unary = (client, method, request) =>
  new Promise((resolve) =>
    client[method](request, { deadline: Date.now() + 20_000 }, (error, answer) =>
      resolve(error ? { code: grpc.status[error.code], message: error.details } : answer),
    ),
  );

function* batches() {
  for (let start = 0; start < documents.length; start += BATCH)
    yield { seq: start / BATCH + 1, documents: { documents: documents.slice(start, start + BATCH) } };
}

/** Writes under the server's credit, while `answered` says how many of the batches are done. */
function stream(method, config, onAnswer) {
  return new Promise((resolve) => {
    const call = scoring[method]({ deadline: Date.now() + 20_000 });
    const queue = batches();
    let [credit, sent, done, open] = [0, 0, 0, true];
    const pump = () => {
      while (open && sent - done < credit) {
        const next = queue.next();
        if (next.done) {
          open = false;
          call.end();
        } else {
          sent += 1;
          call.write({ batch: next.value });
        }
      }
    };
    call.on("data", (answer) => {
      if (answer.opened) credit = answer.opened.limits.max_inflight_batches;
      if (answer.credit) credit = answer.credit.max_inflight_batches;
      done = onAnswer(answer, done);
      pump();
    });
    call.on("error", (error) => resolve({ code: grpc.status[error.code], message: error.details }));
    call.on("end", () => resolve({ code: "OK", sent, done }));
    call.write({ config });
  });
}

const seen = { info: await unary(catalog, "GetServerInfo", {}) };
seen.sets = await unary(catalog, "ListNeuronSets", {});
seen.batch = await unary(scoring, "ScoreBatch", { config: {}, batch: batches().next().value });
seen.wrong_etag = await unary(scoring, "ScoreBatch", { config: { etag: "other" }, batch: batches().next().value });

seen.probabilities = {};
seen.score = await stream("ScoreDocuments", { ordering: "ORDERING_AS_COMPLETED" }, (answer, done) => {
  if (!answer.result) return done;
  seen.probabilities[answer.result.seq] = answer.result.probabilities;
  return done + 1;
});

const chunks = [];
seen.shards = [];
const filter = { score: {}, min_probability: 0.4, target_shard_bytes: 2_000, format: "FORMAT_JSONL_ZST" };
seen.filter = await stream("FilterDocuments", filter, (answer, done) => {
  if (answer.chunk) chunks.push(answer.chunk);
  if (answer.commit) {
    const data = Buffer.concat(chunks.filter((c) => c.shard_id === answer.commit.shard_id).map((c) => c.data));
    seen.shards.push({
      id: answer.commit.shard_id,
      documents: answer.commit.document_count,
      whole: createHash("sha256").update(data).digest().equals(answer.commit.sha256) && data.length === answer.commit.byte_size,
      data: data.toString("base64"),
    });
  }
  if (answer.report) seen.report = answer.report;
  return answer.progress ? answer.progress.processed_seq : done;
});

const cancelled = scoring.ScoreDocuments();
seen.cancelled = await new Promise((resolve) => {
  cancelled.on("error", (error) => resolve(grpc.status[error.code]));
  cancelled.on("data", () => cancelled.cancel());
  cancelled.write({ config: {} });
});

scoring.close();
catalog.close();
process.stdout.write(JSON.stringify(seen));
