// The legacy conformance fixture: one MCP server on the TypeScript SDK that offers everything the suite asks for.
//
// It serves the union of the tool names of both revisions' scenario sets, each in the legacy idiom: what the modern
// set does with an `input_required` result is a server-to-client request here. It is written on the low-level `Server`
// because schemas must reach the wire exactly as they stand here. It knows nothing of its transport: stdio.mjs runs it
// as a child of hub, http.mjs serves it directly for the control measurement.

import { load, types } from "./sdk.mjs";
import { listedTools, tools } from "./tools.mjs";
import { prompts, resources, resourceTemplates } from "./catalogue.mjs";

const { Server } = load("@modelcontextprotocol/sdk/server/index.js");

const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/** Builds one server. All its state (levels, subscriptions, toggled lists) is its own. */
export function createFixture() {
  const server = new Server(
    { name: "hub-conformance-fixture", title: "Conformance fixture", version: "1.0.0" },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
        completions: {},
      },
      instructions: "A test fixture: every tool answers what the conformance suite expects of it.",
    },
  );
  const state = { level: "debug", subscribed: new Set(), extraTool: false, extraPrompt: false };

  /** What a tool or prompt may do besides answering; bound to the request it belongs to. */
  const contextOf = (extra) => ({
    state,
    progressToken: extra._meta?.progressToken,
    ask: (method, params, schema) => extra.sendRequest(params ? { method, params } : { method }, schema),
    notify: (method, params) => extra.sendNotification({ method, params }),
    broadcast: (method, params) => server.notification(params ? { method, params } : { method }),
    log: async (level, data) => {
      if (LEVELS.indexOf(level) < LEVELS.indexOf(state.level)) return;
      await extra.sendNotification({ method: "notifications/message", params: { level, logger: "fixture", data } });
    },
    // Only the HTTP transport has a stream to drop; over a pipe the answer simply comes later.
    dropStream: () => extra.closeSSEStream?.(),
  });

  server.setRequestHandler(types.SetLevelRequestSchema, async ({ params }) => {
    state.level = params.level;
    return {};
  });
  serveTools(server, state, contextOf);
  servePrompts(server, state, contextOf);
  serveResources(server, state);
  server.setRequestHandler(types.CompleteRequestSchema, async ({ params }) => {
    const values = ["test", "testing", "tested"].filter((word) => word.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
  return server;
}

function serveTools(server, state, contextOf) {
  server.setRequestHandler(types.ListToolsRequestSchema, async () => ({ tools: listedTools(state) }));
  server.setRequestHandler(types.CallToolRequestSchema, async ({ params }, extra) => {
    const tool = tools[params.name];
    if (!tool) throw new types.McpError(types.ErrorCode.InvalidParams, `Unknown tool: ${params.name}`);
    const given = params.arguments ?? {};
    for (const name of tool.inputSchema.required ?? []) {
      if (given[name] === undefined) {
        throw new types.McpError(types.ErrorCode.InvalidParams, `Tool ${params.name} needs the argument ${name}`);
      }
    }
    return tool.run(given, contextOf(extra));
  });
}

function servePrompts(server, state, contextOf) {
  const listed = () =>
    Object.entries(prompts)
      .filter(([name]) => name !== "test_toggled_prompt" || state.extraPrompt)
      .map(([name, { render, ...entry }]) => ({ name, ...entry }));
  server.setRequestHandler(types.ListPromptsRequestSchema, async () => ({ prompts: listed() }));
  server.setRequestHandler(types.GetPromptRequestSchema, async ({ params }, extra) => {
    const prompt = prompts[params.name];
    if (!prompt) throw new types.McpError(types.ErrorCode.InvalidParams, `Unknown prompt: ${params.name}`);
    const given = params.arguments ?? {};
    for (const { name, required } of prompt.arguments ?? []) {
      if (required && given[name] === undefined) {
        throw new types.McpError(types.ErrorCode.InvalidParams, `Prompt ${params.name} needs the argument ${name}`);
      }
    }
    return { description: prompt.description, messages: await prompt.render(given, contextOf(extra)) };
  });
}

function serveResources(server, state) {
  const known = (uri) => resources.some((resource) => resource.uri === uri);
  const mustExist = (uri) => {
    // -32002 is the legacy code for a resource that does not exist.
    throw new types.McpError(-32002, "Resource not found", { uri });
  };
  server.setRequestHandler(types.ListResourcesRequestSchema, async () => ({
    resources: resources.map(({ read, ...entry }) => entry),
  }));
  server.setRequestHandler(types.ListResourceTemplatesRequestSchema, async () => ({ resourceTemplates }));
  server.setRequestHandler(types.ReadResourceRequestSchema, async ({ params: { uri } }) => {
    const resource = resources.find((candidate) => candidate.uri === uri);
    if (resource) return { contents: [{ uri, mimeType: resource.mimeType, ...resource.read() }] };
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
    if (!id) return mustExist(uri);
    const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri, mimeType: "application/json", text }] };
  });
  server.setRequestHandler(types.SubscribeRequestSchema, async ({ params: { uri } }) => {
    if (!known(uri)) mustExist(uri);
    state.subscribed.add(uri);
    return {};
  });
  server.setRequestHandler(types.UnsubscribeRequestSchema, async ({ params: { uri } }) => {
    state.subscribed.delete(uri);
    return {};
  });
}
