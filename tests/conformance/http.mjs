// Serves a fixture over Streamable HTTP without hub: `http.mjs legacy | modern`. The control measurement: what the suite
// says about this is what it must say about the same fixture behind hub.
//
// Prints its URL once it listens, and stops when its stdin closes, so that it never outlives the test.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { load } from "./sdk.mjs";

const faces = {
  /** One server per session. */
  legacy: async () => {
    const { createLegacy } = await import("./legacy.mjs");
    const { isInitializeRequest } = load("@modelcontextprotocol/sdk/types.js");
    const { createMcpExpressApp } = load("@modelcontextprotocol/sdk/server/express.js");
    const { StreamableHTTPServerTransport } = load("@modelcontextprotocol/sdk/server/streamableHttp.js");
    const refuse = (response, status, message) =>
      response.status(status).json({ jsonrpc: "2.0", error: { code: -32000, message }, id: null });
    const sessions = new Map();
    const app = createMcpExpressApp({ host: "127.0.0.1" });
    app.all("/mcp", async (request, response) => {
      const known = sessions.get(request.headers["mcp-session-id"]);
      if (known) return known.handleRequest(request, response, request.body);
      if (request.headers["mcp-session-id"]) return refuse(response, 404, "Session not found");
      if (!isInitializeRequest(request.body)) return refuse(response, 400, "Not an initialize request");
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: new EventStore(),
        retryInterval: 500,
        onsessioninitialized: (id) => sessions.set(id, transport),
        onsessionclosed: (id) => sessions.delete(id),
      });
      await createLegacy().connect(transport);
      return transport.handleRequest(request, response, request.body);
    });
    return app;
  },
  /** One server per request, with what they share outside of them. */
  modern: async () => {
    const { createModern } = await import("./modern.mjs");
    const { createState } = await import("./answers.mjs");
    const { createMcpHandler } = load("@modelcontextprotocol/server");
    const { localhostHostValidation, localhostOriginValidation, toNodeHandler } = load("@modelcontextprotocol/node");
    const state = createState();
    const { notify, ...handler } = createMcpHandler(() => createModern({ state, broadcast }), { legacy: "reject" });
    const announce = {
      "notifications/tools/list_changed": () => notify.toolsChanged(),
      "notifications/prompts/list_changed": () => notify.promptsChanged(),
      "notifications/resources/updated": ({ uri }) => notify.resourceUpdated(uri),
    };
    const broadcast = async (method, params) => announce[method](params);
    const [hostIsFine, originIsFine] = [localhostHostValidation(), localhostOriginValidation()];
    const serve = toNodeHandler(handler);
    return (request, response) => {
      if (hostIsFine(request, response) && originIsFine(request, response)) serve(request, response);
    };
  },
};

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

const [era = "legacy"] = process.argv.slice(2);
const listener = createServer(await faces[era]()).listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${listener.address().port}/mcp`);
});
process.stdin.resume().on("end", () => process.exit(0));
