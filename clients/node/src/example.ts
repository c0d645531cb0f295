// Creates an empty resource share, and says what to do when that fails.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { argv, env, exit } from "node:process";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, QuotaFailure, RetryInfo } from "nice-grpc-error-details";
import { Status } from "nice-grpc-error-details/lib/proto/google/rpc/status.js";
import {
  CreateResourceShareRequest,
  type CreateResourceShareResponse,
  ResourceShareServiceClient,
} from "../generated/ramfacade/v1/resource_share_service.js";

// [connect]
export const SERVICE_CONFIG = new URL("../../../retry-service-config.json", import.meta.url);

/** A client that retries by the recommended policy: plaintext, or TLS with a private CA. */
export function connect(address: string, caFile?: string, options: grpc.ChannelOptions = {}) {
  const credentials = caFile
    ? grpc.credentials.createSsl(readFileSync(caFile))
    : grpc.credentials.createInsecure();
  return new ResourceShareServiceClient(address, credentials, {
    "grpc.service_config": readFileSync(SERVICE_CONFIG, "utf8"),
    ...options,
  });
}
// [/connect]

// [create]
/** Creates the share. The client token makes it safe to send the same request again. */
export function create(
  client: ResourceShareServiceClient,
  token: string | undefined,
  request: CreateResourceShareRequest,
  milliseconds = 30_000,
  started: (call: grpc.ClientUnaryCall) => void = () => {},
): Promise<CreateResourceShareResponse> {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  request.clientToken ||= randomUUID();
  const deadline = Date.now() + milliseconds;
  return new Promise((resolve, reject) => {
    const call = client.create(request, metadata, { deadline }, (error, answer) => {
      if (error) reject(error);
      else resolve(answer);
    });
    started(call);
  });
}
// [/create]

// [refusal]
/** A failed call, with the typed details that a program acts on. */
export class Refusal {
  readonly code: grpc.status;
  readonly message: string;
  readonly details = new Map<string, Uint8Array>();

  constructor(error: grpc.ServiceError) {
    this.code = error.code;
    this.message = error.details;
    const [packed] = error.metadata.get("grpc-status-details-bin");
    for (const { typeUrl, value } of packed instanceof Buffer ? Status.decode(packed).details : []) {
      this.details.set(typeUrl.replace("type.googleapis.com/google.rpc.", ""), value);
    }
  }

  get info() {
    return this.read("ErrorInfo", ErrorInfo);
  }

  get fields() {
    return this.read("BadRequest", BadRequest)?.fieldViolations ?? [];
  }

  get quota() {
    return this.read("QuotaFailure", QuotaFailure);
  }

  /** Milliseconds, or undefined when the service does not invite another try. */
  get retryAfter() {
    const delay = this.read("RetryInfo", RetryInfo)?.retryDelay;
    return delay && Number(delay.seconds) * 1_000 + delay.nanos / 1e6;
  }

  private read<T>(name: string, type: { decode(bytes: Uint8Array): T }): T | undefined {
    const bytes = this.details.get(name);
    return bytes && type.decode(bytes);
  }
}
// [/refusal]

// [next]
/** Who has to do something: nobody yet, you, or whoever runs the service. */
export function nextStep(refusal: Refusal): "try again" | "fix your request" | "ask your administrator" {
  // The same request, with the same client token, after that time.
  if (refusal.retryAfter !== undefined) return "try again";
  switch (refusal.code) {
    case grpc.status.UNAVAILABLE:
    case grpc.status.DEADLINE_EXCEEDED:
    case grpc.status.CANCELLED:
    case grpc.status.ABORTED:
      return "try again";
    case grpc.status.INVALID_ARGUMENT:
    case grpc.status.NOT_FOUND:
    case grpc.status.ALREADY_EXISTS:
    case grpc.status.FAILED_PRECONDITION:
      return "fix your request";
    case grpc.status.RESOURCE_EXHAUSTED:
      // Without a quota it is the request that is too large.
      return refusal.quota ? "ask your administrator" : "fix your request";
    default:
      return "ask your administrator";
  }
}
// [/next]

async function main(): Promise<number> {
  const client = connect(env.FACADE_ADDRESS ?? "127.0.0.1:50051", env.FACADE_CA_FILE);
  const request = CreateResourceShareRequest.fromPartial({ name: "demo", allowExternalPrincipals: false });
  try {
    const answer = await create(client, env.FACADE_TOKEN, request);
    console.log(answer.resourceShare?.resourceShareArn);
    return 0;
  } catch (error) {
    const refusal = new Refusal(error as grpc.ServiceError);
    const name = grpc.status[refusal.code];
    console.error(`${name} ${refusal.info?.reason}: ${refusal.message}: ${nextStep(refusal)}`);
    for (const { field, description } of refusal.fields) console.error(`  ${field} ${description}`);
    return 1;
  } finally {
    client.close();
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) exit(await main());
