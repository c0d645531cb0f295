// What every client must see of the service; clients/behaviours.json lists the names, clients/run.py starts the scene.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type DescService, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import {
  CreateResourceShareRequest,
  ResourceShare,
  ResourceShareStatus,
} from "../generated/ramfacade/v1/resource_share_service.js";
import { Refusal, connect, create, nextStep } from "../src/example.js";

interface Server {
  address: string;
  sandbox: string;
}

interface Row {
  code: keyof typeof grpc.status;
  server?: "main" | "hurried";
  name?: string;
  token?: string;
  callers?: number;
  fault?: object;
  domain: string;
  reason: string;
  details: string[];
  fields?: string[];
  next: string;
}

const scene: {
  token: string;
  main: Server;
  hurried: Server;
  web: Server;
  tls: Server & { ca_file: string; other_ca_file: string };
  tap: string;
  control: string;
  service_config: string;
  throttled: object;
  codes: Row[];
} = JSON.parse(readFileSync(process.env.SCENE ?? "", "utf8"));
const token = scene.token;

async function ask(method: string, url: string, body?: object): Promise<any> {
  const answer = await fetch(url, { method, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${url}: ${answer.status}`);
  const text = await answer.text();
  return text ? JSON.parse(text) : {};
}

/** The embedded RAM behind a service. */
class Sandbox {
  private constructor(readonly url: string) {}

  static async reset(url: string): Promise<Sandbox> {
    await ask("POST", `${url}/_sandbox/reset`);
    return new Sandbox(url);
  }

  async fault(fault: object, times?: number): Promise<void> {
    const rule = { operation: "CreateResourceShare", fault, ...(times && { times }) };
    await ask("PUT", `${this.url}/_sandbox/faults`, { rules: [rule] });
  }

  async count(what: "requests" | "executions" | "live_shares"): Promise<number> {
    const counts = (await ask("GET", `${this.url}/_sandbox/stats`))[what];
    return typeof counts === "number" ? counts : (counts.CreateResourceShare ?? 0);
  }

  waitForRequests(least: number): Promise<void> {
    return until(async () => (await this.count("requests")) >= least);
  }
}

async function until(done: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await done())) {
    assert.ok(Date.now() < end, "it did not happen within 30 seconds");
    await sleep(20);
  }
}

const tap = () => ask("GET", `${scene.control}/tap`);

const share = (more: object = {}) => CreateResourceShareRequest.fromPartial({ name: "demo", ...more });

type Client = ReturnType<typeof connect>;

async function refused(client: Client, request = share(), as = token, milliseconds = 30_000): Promise<Refusal> {
  const answer = await create(client, as, request, milliseconds).catch((error) => new Refusal(error));
  assert.ok(answer instanceof Refusal, "it was not refused");
  return answer;
}

async function arn(client: Client, request = share()): Promise<string> {
  const answer = await create(client, token, request);
  const arn = answer.resourceShare?.resourceShareArn ?? "";
  assert.match(arn, /^arn:aws:ram:us-east-1:111122223333:resource-share\//);
  return arn;
}

/** A test with a client of the main service and its sandbox, both as new. */
function behaviour(name: string, run: (client: Client, ram: Sandbox) => Promise<void>): void {
  test(name, async () => {
    const client = connect(scene.main.address);
    try {
      await run(client, await Sandbox.reset(scene.main.sandbox));
    } finally {
      client.close();
    }
  });
}

behaviour("create", async (client, ram) => {
  const request = share({ tags: [{ key: "team", value: "network" }], allowExternalPrincipals: false });

  const made = (await create(client, token, request)).resourceShare;

  assert.equal(made?.status, ResourceShareStatus.RESOURCE_SHARE_STATUS_ACTIVE);
  assert.equal(made.allowExternalPrincipals, false);
  assert.deepEqual(made.tags, [{ key: "team", value: "network" }]);
  assert.equal(await ram.count("executions"), 1);
});

behaviour("replay", async (client, ram) => {
  const request = share();

  assert.equal(await arn(client, request), await arn(client, request));
  assert.equal(await ram.count("executions"), 1);
});

behaviour("mismatch", async (client, ram) => {
  const request = share();
  await arn(client, request);
  request.name = "other";

  const refusal = await refused(client, request);

  assert.equal(refusal.code, grpc.status.INVALID_ARGUMENT);
  assert.equal(refusal.info?.reason, "IDEMPOTENT_PARAMETER_MISMATCH");
  assert.deepEqual(refusal.fields.map((violation) => violation.field), ["client_token"]);
  assert.equal(nextStep(refusal), "fix your request");
  assert.equal(await ram.count("executions"), 1);
});

test("every code with typed details", async (t) => {
  assert.ok(scene.codes.length > 0);
  for (const row of scene.codes) {
    await t.test(`every code with typed details [${row.code}]`, async () => {
      const server = scene[row.server ?? "main"];
      const ram = await Sandbox.reset(server.sandbox);
      if (row.fault) await ram.fault(row.fault);
      // The client's own retries would only repeat what is looked at here.
      const client = connect(server.address, undefined, { "grpc.enable_retries": 0 });
      const request = share({ name: row.name ?? "demo", clientToken: `${row.code}-${process.pid}` });

      const calls = Array.from({ length: row.callers ?? 1 }, () => create(client, row.token ?? token, { ...request }));
      const outcomes = await Promise.allSettled(calls);
      client.close();

      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      assert.ok(failed, "nobody was refused");
      const refusal = new Refusal(failed.reason);
      assert.equal(grpc.status[refusal.code], row.code);
      assert.deepEqual([refusal.info?.domain, refusal.info?.reason], [row.domain, row.reason]);
      assert.deepEqual([...refusal.details.keys()].sort(), row.details);
      assert.deepEqual(refusal.fields.map((violation) => violation.field), row.fields ?? []);
      assert.equal((refusal.retryAfter ?? 0) > 0, row.details.includes("RetryInfo"));
      assert.equal(nextStep(refusal), row.next);
    });
  }
});

behaviour("deadline exceeded", async (client, ram) => {
  await ram.fault({ kind: "delay", ms: 3_000 }, 1);
  const request = share();
  const began = Date.now();

  const refusal = await refused(client, request, token, 300);

  assert.equal(refusal.code, grpc.status.DEADLINE_EXCEEDED);
  assert.ok(Date.now() - began < 2_000);
  assert.equal(nextStep(refusal), "try again");
  // The execution went on: the same token gets its outcome.
  await arn(client, request);
  assert.equal(await ram.count("executions"), 1);
});

behaviour("cancellation", async (client, ram) => {
  await ram.fault({ kind: "delay", ms: 1_000 }, 1);
  const request = share();
  let cancel = () => {};

  const outcome = create(client, token, request, 30_000, (call) => (cancel = () => call.cancel())).catch(
    (error) => new Refusal(error),
  );
  await ram.waitForRequests(1);
  cancel();

  const refusal = await outcome;
  assert.ok(refusal instanceof Refusal);
  assert.equal(refusal.code, grpc.status.CANCELLED);
  await arn(client, request);
  assert.equal(await ram.count("executions"), 1);
});

behaviour("unavailable is retried by the client", async (client, ram) => {
  await ram.fault({ kind: "drop_after_execution" }, 1);

  await arn(client);

  assert.equal(await ram.count("requests"), 2);
  assert.equal(await ram.count("executions"), 1);
  assert.equal(await ram.count("live_shares"), 1);
});

behaviour("pushback is obeyed", async (_, ram) => {
  const config = JSON.parse(scene.service_config);
  const policy = config.methodConfig[0].retryPolicy;
  policy.retryableStatusCodes.push("RESOURCE_EXHAUSTED");
  // By itself this client would come back at once.
  policy.initialBackoff = policy.maxBackoff = "0.001s";
  await ram.fault(scene.throttled, 1);
  const client = connect(scene.main.address, undefined, { "grpc.service_config": JSON.stringify(config) });
  const began = Date.now();

  await arn(client);
  client.close();

  assert.ok(Date.now() - began >= 1_000, `came back after ${Date.now() - began} ms`);
  assert.equal(await ram.count("requests"), 2);
});

behaviour("unknown enum value is kept", async (client, ram) => {
  await ram.fault({ kind: "patch", pointer: "/resourceShare/status", value: "FROBBED" });

  const made = (await create(client, token, share())).resourceShare;

  assert.equal(made?.status, ResourceShareStatus.RESOURCE_SHARE_STATUS_UNSPECIFIED);
  assert.equal(made.unrecognizedStatus, "FROBBED");
  // A newer service may name a state that this client does not know: the number survives.
  const newer = ResourceShare.decode(Uint8Array.of(0x28, 99));
  assert.equal(newer.status as number, 99);
  assert.deepEqual([...ResourceShare.encode(newer).finish()], [0x28, 99]);
});

behaviour("metadata of 64 KiB is refused readably", async (client, ram) => {
  const refusal = await refused(client, share(), "x".repeat(65_536));

  assert.equal(refusal.code, grpc.status.RESOURCE_EXHAUSTED, refusal.message);
  assert.equal(refusal.info?.reason, "METADATA_TOO_LARGE");
  assert.equal(nextStep(refusal), "fix your request");
  assert.equal(await ram.count("requests"), 0);
});

test("tls with a private CA", async () => {
  const ram = await Sandbox.reset(scene.tls.sandbox);
  const trusting = connect(scene.tls.address, scene.tls.ca_file);
  const stranger = connect(scene.tls.address, scene.tls.other_ca_file);

  await arn(trusting);
  assert.equal((await refused(stranger, share(), token, 5_000)).code, grpc.status.UNAVAILABLE);

  trusting.close();
  stranger.close();
  assert.equal(await ram.count("executions"), 1);
});

behaviour("gzip", async () => {
  const before = await tap();
  const client = connect(scene.tap, undefined, {
    "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
  });
  const tags = Array.from({ length: 40 }, (_, i) => ({ key: `key-${i}`, value: "v".repeat(200) }));

  const answer = await create(client, token, share({ tags }));
  client.close();

  assert.equal(answer.resourceShare?.tags.length, 40);
  assert.equal((await tap()).compressed, before.compressed + 1);
});

/** The service of a proto file that an npm package ships. */
function serviceOf(packageName: string, file: string, name: string): grpc.ServiceClientConstructor {
  const folder = dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`));
  const loaded = grpc.loadPackageDefinition(loadSync(join(folder, file), { enums: String })) as any;
  return name.split(".").reduce((part, key) => part[key], loaded);
}

const Health = serviceOf("grpc-health-check", "proto/health/v1/health.proto", "grpc.health.v1.Health");

function check(client: InstanceType<typeof Health>, service: string): Promise<{ status: string }> {
  return new Promise((resolve, reject) =>
    client.check({ service }, (error: Error | null, answer: { status: string }) =>
      error ? reject(error) : resolve(answer),
    ),
  );
}

test("keepalive", async () => {
  const before = await tap();
  const health = new Health(scene.tap, grpc.credentials.createInsecure(), {
    "grpc.keepalive_time_ms": 1_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
  });

  await check(health, "");
  await until(async () => (await tap()).pongs >= before.pongs + 3);
  await check(health, "");
  health.close();

  const after = await tap();
  // All on one connection, which the service did not end for being pinged.
  assert.equal(after.connections, before.connections + 1);
  assert.equal(after.goaways, before.goaways);
});

test("drain", async () => {
  const started = await ask("POST", `${scene.control}/facade`);
  const own = `${scene.control}/facade/${started.id}`;
  const ram = await Sandbox.reset(started.sandbox);
  await ram.fault({ kind: "delay", ms: 1_500 });
  const client = connect(started.address, undefined, { "grpc.enable_retries": 0 });

  const calls = Promise.all(Array.from({ length: 5 }, () => arn(client)));
  await ram.waitForRequests(5);
  await ask("POST", `${own}/terminate`);

  assert.equal(new Set(await calls).size, 5);
  const late = await refused(client, share(), token, 10_000);
  client.close();
  assert.equal(late.code, grpc.status.UNAVAILABLE);
  assert.equal(nextStep(late), "try again");
  assert.deepEqual(await ask("GET", `${own}/exit`), { code: 0 });
});

test("health", async () => {
  const client = new Health(scene.main.address, grpc.credentials.createInsecure());
  for (const service of ["", "ramfacade.v1.ResourceShareService"]) {
    assert.equal((await check(client, service)).status, "SERVING", service);
  }
  client.close();
});

test("reflection", async () => {
  const file = "build/proto/grpc/reflection/v1/reflection.proto";
  const Reflection = serviceOf("@grpc/reflection", file, "grpc.reflection.v1.ServerReflection");
  const client = new Reflection(scene.main.address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  const stream = client.ServerReflectionInfo(metadata);
  const answer = new Promise<any>((resolve, reject) => stream.on("data", resolve).on("error", reject));
  stream.write({ listServices: "" });

  const names = (await answer).listServicesResponse.service.map((service: { name: string }) => service.name);

  stream.end();
  client.close();
  assert.ok(names.includes("ramfacade.v1.ResourceShareService"), names);
});

// --- Beside the behaviours that all languages share: a browser's protocol, spoken by a client that is made for it. ---

/** The service as Connect knows it, from the contract's image: no second code generator is needed for one test. */
function described(): DescService {
  const image = readFileSync(new URL("../../../../proto/released/ramfacade.binpb", import.meta.url));
  const service = createFileRegistry(fromBinary(FileDescriptorSetSchema, image)).getService(
    "ramfacade.v1.ResourceShareService",
  );
  assert.ok(service);
  return service;
}

test("grpc-web", async () => {
  const ram = await Sandbox.reset(scene.web.sandbox);
  const transport = createGrpcWebTransport({ baseUrl: `http://${scene.web.address}`, httpVersion: "2" });
  const client = createClient(described(), transport) as any;
  const headers = { authorization: `Bearer ${token}` };

  const answer = await client.create({ name: "demo", clientToken: "web" }, { headers });
  const refusal = await client.create({ name: "other", clientToken: "web" }, { headers }).catch((e: unknown) => e);

  assert.match(answer.resourceShare.resourceShareArn, /^arn:aws:ram:/);
  assert.ok(refusal instanceof ConnectError);
  assert.equal(refusal.code, Code.InvalidArgument);
  const types = refusal.details.map((detail) => ("type" in detail ? detail.type : ""));
  assert.ok(types.includes("google.rpc.ErrorInfo") && types.includes("google.rpc.BadRequest"), String(types));
  assert.equal(await ram.count("executions"), 1);
});
