// Drives many sessions with the TypeScript SDK 1.32. A thin executor: what to do comes in, what came back goes out, and
// the Rust test that started it (tests/real/main.rs) judges.
//
// In, one JSON document per line on stdin: the job {"client", "sessions": [{"name", "url", "rounds": [[step, …], …]}]},
// then {"round": n} for each round, then {"close": true}. A step is {"id", "op", …}: see `perform`.
// Out, one JSON document per line on stdout: {"opened": {…}}, one {"result": {…}} per step, {"finished": n} after each
// round, and {"closed": {…}}.

import { createInterface } from "node:readline";
import { load, types } from "../conformance/sdk.mjs";

const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { SSEClientTransport } = load("@modelcontextprotocol/sdk/client/sse.js");
const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");

const STEP_TIMEOUT = 90_000; // ms

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const texts = (blocks) => blocks.map((block) => block.text ?? `<${block.type ?? block.mimeType}>`).join("\n");

/** One session: a connected client, and what it was asked for by the server. */
async function open({ name, url, rounds }) {
  const asked = [];
  const client = new Client(
    { name: `hub-test-${name}`, version: "1.0.0" },
    { capabilities: { sampling: {}, elicitation: {} } },
  );
  client.setRequestHandler(types.CreateMessageRequestSchema, async ({ params }) => {
    const prompt = texts(params.messages.map((message) => message.content));
    asked.push(prompt);
    const content = { type: "text", text: `${name} was asked: ${prompt}` };
    return { role: "assistant", model: `model-of-${name}`, stopReason: "endTurn", content };
  });
  client.setRequestHandler(types.ElicitRequestSchema, async ({ params }) => {
    asked.push(params.message);
    return { action: "accept", content: { name } };
  });
  // A URL that ends in /sse means the transport of 2024-11-05.
  const Transport = url.endsWith("/sse") ? SSEClientTransport : StreamableHTTPClientTransport;
  const transport = new Transport(new URL(url));
  await client.connect(transport, { timeout: STEP_TIMEOUT });
  return { name, rounds, client, transport, asked };
}

/** Performs one step and gives what came back as text. */
async function perform(client, step, progress) {
  const onprogress = step.progress ? (event) => progress.push([event.progress, event.total ?? null]) : undefined;
  const options = { timeout: STEP_TIMEOUT, onprogress };
  switch (step.op) {
    case "tool": {
      const params = { name: step.name, arguments: step.arguments };
      const result = await client.callTool(params, undefined, options);
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
      await client.ping(options);
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
const versions = sessions.map(({ name, transport }) => [name, transport.protocolVersion ?? "over SSE"]);
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
