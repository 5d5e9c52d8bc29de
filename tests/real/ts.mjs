// Drives many sessions with the TypeScript SDK: 1.32 as `ts.mjs ts1`, 2.4 as `ts.mjs ts2-auto`, `ts2-modern` or
// `ts2-legacy`. A thin executor: what to do comes in, what came back goes out, and the Rust test that started it
// (tests/real/driver.rs) judges.
//
// In, one JSON document per line on stdin: the job {"client", "sessions": [{"name", "url", "rounds": [[step, …], …]}]},
// then {"round": n} for each round, then {"close": true}. A step is {"id", "op", …}: see `perform`.
// Out, one JSON document per line on stdout: {"opened": {…}}, one {"result": {…}} per step, {"finished": n} after each
// round, and {"closed": {…}}.

import { createInterface } from "node:readline";
import { load } from "../conformance/sdk.mjs";

const STEP_TIMEOUT = 90_000; // ms
const SAMPLING = "sampling/createMessage";
const ELICITATION = "elicitation/create";

/** What differs between the two SDKs. */
const one = () => {
  const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
  const { SSEClientTransport } = load("@modelcontextprotocol/sdk/client/sse.js");
  const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
  const types = load("@modelcontextprotocol/sdk/types.js");
  const requests = { [SAMPLING]: types.CreateMessageRequestSchema, [ELICITATION]: types.ElicitRequestSchema };
  return {
    client: (info, options) => new Client(info, options),
    answer: (client, method, handler) => client.setRequestHandler(requests[method], handler),
    call: (client, params, options) => client.callTool(params, undefined, options),
    version: (_, transport) => transport.protocolVersion ?? "over SSE",
    StdioClientTransport,
    SSEClientTransport,
    StreamableHTTPClientTransport,
  };
};
const two = (mode) => {
  const { Client, SSEClientTransport, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
  const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
  const versionNegotiation = { mode: mode === "modern" ? { pin: "2026-07-28" } : mode };
  return {
    client: (info, options) => new Client(info, { ...options, versionNegotiation }),
    answer: (client, method, handler) => client.setRequestHandler(method, handler),
    call: (client, params, options) => client.callTool(params, options),
    version: (client) => client.getNegotiatedProtocolVersion(),
    StdioClientTransport,
    SSEClientTransport,
    StreamableHTTPClientTransport,
  };
};
const [, mode] = process.argv[2].split("-");
const sdk = mode ? two(mode) : one();

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const texts = (blocks) => blocks.map((block) => block.text ?? `<${block.type ?? block.mimeType}>`).join("\n");

/** A URL that ends in /sse means the transport of 2024-11-05; `stdio COMMAND ARG …`, a program to start. */
function transportTo(url) {
  if (url.startsWith("stdio ")) {
    const [command, ...args] = url.split(" ").slice(1);
    return new sdk.StdioClientTransport({ command, args, env: process.env });
  }
  const Transport = url.endsWith("/sse") ? sdk.SSEClientTransport : sdk.StreamableHTTPClientTransport;
  return new Transport(new URL(url));
}

/** One session: a connected client, and what it was asked for by the server. */
async function open({ name, url, rounds }) {
  const asked = [];
  const info = { name: `hub-test-${name}`, version: "1.0.0" };
  const client = sdk.client(info, { capabilities: { sampling: {}, elicitation: {} } });
  sdk.answer(client, SAMPLING, async ({ params }) => {
    const prompt = texts(params.messages.map((message) => message.content));
    asked.push(prompt);
    const content = { type: "text", text: `${name} was asked: ${prompt}` };
    return { role: "assistant", model: `model-of-${name}`, stopReason: "endTurn", content };
  });
  sdk.answer(client, ELICITATION, async ({ params }) => {
    asked.push(params.message);
    return { action: "accept", content: Object.fromEntries(params.requestedSchema.required.map((key) => [key, name])) };
  });
  const transport = transportTo(url);
  await client.connect(transport, { timeout: STEP_TIMEOUT });
  return { name, rounds, client, transport, asked };
}

/** Performs one step and gives what came back as text. */
async function perform(client, step, progress) {
  const onprogress = step.progress ? (event) => progress.push([event.progress, event.total ?? null]) : undefined;
  // Every step must reach hub, whatever may be cached.
  const options = { timeout: STEP_TIMEOUT, onprogress, cacheMode: "bypass" };
  switch (step.op) {
    case "tool": {
      const params = { name: step.name, arguments: step.arguments };
      const result = await sdk.call(client, params, options);
      return { text: texts(result.content), structured: result.structuredContent ?? null, failed: !!result.isError };
    }
    case "tools":
      return { text: (await client.listTools({}, options)).tools.map((tool) => tool.name).sort().join(" ") };
    case "resource":
      return { text: texts((await client.readResource({ uri: step.uri }, options)).contents) };
    case "prompt": {
      const result = await client.getPrompt({ name: step.name, arguments: step.arguments }, options);
      return { text: texts(result.messages.map((message) => message.content)) };
    }
    case "ping":
      // Revisions after 2025-11-25 have none.
      if (mode === undefined || sdk.version(client) <= "2025-11-25") await client.ping(options);
      return { text: "pong" };
    default:
      throw new Error(`unknown op ${step.op}`);
  }
}

async function run(session, step) {
  const progress = [];
  const result = { session: session.name, step: step.id, progress };
  try {
    Object.assign(result, await perform(session.client, step, progress));
  } catch (error) {
    result.error = `${error?.code ?? ""} ${error?.message ?? error}`;
  }
  say({ result });
}

async function close({ client, transport }) {
  await transport.terminateSession?.();
  await client.close();
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => {
  const { value, done } = await lines.next();
  if (done) process.exit(1); // the test is gone
  return JSON.parse(value);
};

const job = await next();
const sessions = await Promise.all(job.sessions.map(open));
const versions = sessions.map(({ name, client, transport }) => [name, sdk.version(client, transport)]);
say({ opened: Object.fromEntries(versions) });
for (;;) {
  const command = await next();
  if (command.close) break;
  const steps = sessions.flatMap((session) => session.rounds[command.round].map((step) => run(session, step)));
  await Promise.all(steps);
  say({ finished: command.round });
}
await Promise.all(sessions.map(close));
say({ closed: Object.fromEntries(sessions.map(({ name, asked }) => [name, asked])) });
process.exit(0);
