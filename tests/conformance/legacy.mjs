// The legacy fixture: one MCP server on the TypeScript SDK 1.32 that offers everything the suite asks for.
//
// What the modern set does with an `input_required` result is a server-to-client request here. It is written on the
// low-level `Server` because schemas must reach the wire exactly as they stand in tools.mjs. It knows nothing of its
// transport: stdio.mjs runs it as a child of hub, http.mjs serves it directly for the control measurement.

import { load } from "./sdk.mjs";
import { answers, createState, IDENTITY, OPTIONS } from "./answers.mjs";
import { resources } from "./catalogue.mjs";

const { Server } = load("@modelcontextprotocol/sdk/server/index.js");
const types = load("@modelcontextprotocol/sdk/types.js");

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

const REQUESTS = {
  "tools/list": types.ListToolsRequestSchema,
  "tools/call": types.CallToolRequestSchema,
  "prompts/list": types.ListPromptsRequestSchema,
  "prompts/get": types.GetPromptRequestSchema,
  "resources/list": types.ListResourcesRequestSchema,
  "resources/templates/list": types.ListResourceTemplatesRequestSchema,
  "resources/read": types.ReadResourceRequestSchema,
  "completion/complete": types.CompleteRequestSchema,
};

const RESULTS = {
  "elicitation/create": types.ElicitResultSchema,
  "sampling/createMessage": types.CreateMessageResultSchema,
  "roots/list": types.ListRootsResultSchema,
};

const refuse = {
  invalid: (message) => {
    throw new types.McpError(types.ErrorCode.InvalidParams, message);
  },
  // -32002 is the legacy code for a resource that does not exist.
  noResource: (uri) => {
    throw new types.McpError(-32002, "Resource not found", { uri });
  },
};

const message = (method, params) => (params ? { method, params } : { method });

/** Builds one server. All its state (level, subscriptions, toggled lists) is its own. */
export function createLegacy() {
  const server = new Server(IDENTITY, OPTIONS);
  const state = createState();
  const subscribed = new Set();
  let least = "debug";

  /** What a tool or prompt may do besides answering; bound to the request it belongs to. */
  const contextOf = (extra) => ({
    state,
    progressToken: extra._meta?.progressToken,
    ask: (_key, method, params) => extra.sendRequest(message(method, params), RESULTS[method]),
    notify: (method, params) => extra.sendNotification({ method, params }),
    broadcast: async (method, params) => {
      if (params && !subscribed.has(params.uri)) return;
      await server.notification(message(method, params));
    },
    log: async (level, data) => {
      if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
      await extra.sendNotification({ method: "notifications/message", params: { level, logger: "fixture", data } });
    },
    // Only the HTTP transport has a stream to drop; over a pipe the answer simply comes later.
    dropStream: () => extra.closeSSEStream?.(),
  });

  for (const [method, answer] of Object.entries(answers(refuse))) {
    const handler = async ({ params = {} }, extra) => answer(params, contextOf(extra));
    server.setRequestHandler(REQUESTS[method], handler);
  }
  server.setRequestHandler(types.SetLevelRequestSchema, async ({ params }) => {
    least = params.level;
    return {};
  });
  server.setRequestHandler(types.SubscribeRequestSchema, async ({ params: { uri } }) => {
    if (!resources.some((resource) => resource.uri === uri)) refuse.noResource(uri);
    subscribed.add(uri);
    return {};
  });
  server.setRequestHandler(types.UnsubscribeRequestSchema, async ({ params: { uri } }) => {
    subscribed.delete(uri);
    return {};
  });
  return server;
}
