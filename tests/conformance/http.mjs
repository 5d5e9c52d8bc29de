// Serves the fixture over Streamable HTTP without hub, one server per session: the control measurement. What the
// suite says about this is what it must say about the same fixture behind hub.
//
// Prints its URL once it listens, and stops when its stdin closes, so that it never outlives the test.

import { randomUUID } from "node:crypto";
import { createFixture } from "./fixture.mjs";
import { load, types } from "./sdk.mjs";

const { createMcpExpressApp } = load("@modelcontextprotocol/sdk/server/express.js");
const { StreamableHTTPServerTransport } = load("@modelcontextprotocol/sdk/server/streamableHttp.js");

const refuse = (response, status, message) =>
  response.status(status).json({ jsonrpc: "2.0", error: { code: -32000, message }, id: null });

/** Keeps events for as long as the process lives: enough to resume a stream in a test. */
class EventStore {
  #events = [];

  async storeEvent(streamId, message) {
    this.#events.push({ streamId, message });
    return String(this.#events.length);
  }

  async replayEventsAfter(lastEventId, { send }) {
    const { streamId } = this.#events[Number(lastEventId) - 1];
    for (let at = Number(lastEventId); at < this.#events.length; at += 1) {
      const event = this.#events[at];
      if (event.streamId === streamId) await send(String(at + 1), event.message);
    }
    return streamId;
  }
}

const app = createMcpExpressApp({ host: "127.0.0.1" });
const sessions = new Map();

app.all("/mcp", async (request, response) => {
  const known = sessions.get(request.headers["mcp-session-id"]);
  if (known) return known.handleRequest(request, response, request.body);
  if (request.headers["mcp-session-id"]) return refuse(response, 404, "Session not found");
  if (!types.isInitializeRequest(request.body)) return refuse(response, 400, "Not an initialize request");
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new EventStore(),
    retryInterval: 500,
    onsessioninitialized: (id) => sessions.set(id, transport),
    onsessionclosed: (id) => sessions.delete(id),
  });
  await createFixture().connect(transport);
  return transport.handleRequest(request, response, request.body);
});

const listener = app.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${listener.address().port}/mcp`);
});
process.stdin.resume().on("end", () => process.exit(0));
