// The fixtures' tools: those of both revisions' scenario sets, written once for all eras.
//
// Schemas are on the wire exactly as written here. A tool asks the client with `context.ask(key, method, params)`: the
// legacy fixture sends a request and waits, the modern one ends the call with `input_required` and runs the tool again
// with the answers (so what comes before an ask must bear to be done twice). The keys are those of the suite. A request
// to the client that fails is not caught: its error object, code and data included, is the tool call's own answer, and
// that is what a translating hub is judged by.

import { setTimeout as pause } from "node:timers/promises";
import { PNG, WAV } from "./media.mjs";

const text = (value) => ({ content: [{ type: "text", text: value }] });
const NO_ARGUMENTS = { type: "object", properties: {} };
const object = (properties, required = Object.keys(properties)) => ({ type: "object", properties, required });
const string = (description) => ({ type: "string", description });

// === Requests to the client ===

const elicit = (context, key, message, requestedSchema) =>
  context.ask(key, "elicitation/create", { message, requestedSchema });

const sample = (context, key, prompt) =>
  context.ask(key, "sampling/createMessage", {
    messages: [{ role: "user", content: { type: "text", text: prompt } }],
    maxTokens: 100,
  });

const listRoots = (context) => context.ask("client_roots", "roots/list");

const sampled = (answer) => (answer.content.type === "text" ? answer.content.text : JSON.stringify(answer.content));
const elicited = ({ action, content }) => `action=${action}, content=${JSON.stringify(content ?? {})}`;
const askName = (context) => elicit(context, "user_name", "What is your name?", object({ name: { type: "string" } }));
const askOk = (context) => elicit(context, "confirm", "Please confirm", object({ ok: { type: "boolean" } }));

// === Content ===

const content = {
  // First in the list: the header scenarios call the first tool with no arguments.
  test_simple_text: {
    description: "Answers with one text",
    run: () => text("This is a simple text response for testing."),
  },
  test_image_content: {
    description: "Answers with an image",
    run: () => ({ content: [{ type: "image", data: PNG, mimeType: "image/png" }] }),
  },
  test_audio_content: {
    description: "Answers with a sound",
    run: () => ({ content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }] }),
  },
  test_embedded_resource: {
    description: "Answers with an embedded resource",
    run: () => ({
      content: [
        {
          type: "resource",
          resource: {
            uri: "test://embedded-resource",
            mimeType: "text/plain",
            text: "This is an embedded resource content.",
          },
        },
      ],
    }),
  },
  test_multiple_content_types: {
    description: "Answers with text, image and resource together",
    run: () => ({
      content: [
        { type: "text", text: "Multiple content types test:" },
        { type: "image", data: PNG, mimeType: "image/png" },
        {
          type: "resource",
          resource: {
            uri: "test://mixed-content-resource",
            mimeType: "application/json",
            text: JSON.stringify({ test: "data", value: 123 }),
          },
        },
      ],
    }),
  },
  test_error_handling: {
    description: "Always fails, as a result with isError",
    run: () => ({ ...text("This tool intentionally returns an error for testing"), isError: true }),
  },
};

// === Notifications ===

async function logThrice(context) {
  for (const message of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
    await context.log("info", message);
    await pause(50);
  }
}

const notifications = {
  test_tool_with_progress: {
    description: "Reports progress three times",
    run: async (_, context) => {
      for (const progress of [0, 50, 100]) {
        if (context.progressToken !== undefined) {
          const params = { progressToken: context.progressToken, progress, total: 100 };
          await context.notify("notifications/progress", params);
        }
        await pause(50);
      }
      return text("Progress reported.");
    },
  },
  test_tool_with_logging: {
    description: "Logs three times at level info",
    run: async (_, context) => {
      await logThrice(context);
      return text("Logging done.");
    },
  },
  test_logging_tool: {
    description: "Logs three times at level info, if the level allows",
    run: async (_, context) => {
      await logThrice(context);
      return text("Logging done.");
    },
  },
  test_reconnection: {
    description: "Drops its response stream in mid-call and answers later",
    run: async (_, context) => {
      await pause(100);
      context.dropStream();
      await pause(100);
      return text("Reconnection test completed.");
    },
  },
  test_trigger_tool_change: {
    description: "Adds or removes test_toggled_tool",
    run: async (_, context) => {
      context.state.extraTool = !context.state.extraTool;
      await context.broadcast("notifications/tools/list_changed");
      return text(`test_toggled_tool is ${context.state.extraTool ? "there" : "gone"}`);
    },
  },
  test_trigger_prompt_change: {
    description: "Adds or removes test_toggled_prompt",
    run: async (_, context) => {
      context.state.extraPrompt = !context.state.extraPrompt;
      await context.broadcast("notifications/prompts/list_changed");
      return text(`test_toggled_prompt is ${context.state.extraPrompt ? "there" : "gone"}`);
    },
  },
  test_trigger_resource_update: {
    description: "Announces an update of a resource to those who are subscribed to it",
    inputSchema: object({ uri: string("The resource; test://watched-resource by default") }, []),
    run: async ({ uri = "test://watched-resource" }, context) => {
      await context.broadcast("notifications/resources/updated", { uri });
      return text(`${uri} was announced`);
    },
  },
  test_toggled_tool: { description: "Comes and goes with test_trigger_tool_change", run: () => text("Toggled.") },
};

// === Tools that ask the client ===

const asks = {
  test_sampling: {
    description: "Asks the client's model",
    inputSchema: object({ prompt: string("The prompt to send to the model") }),
    run: async ({ prompt }, context) => text(`LLM response: ${sampled(await sample(context, "sampled", prompt))}`),
  },
  test_elicitation: {
    description: "Asks the client's user",
    inputSchema: object({ message: string("The message to show") }),
    run: async ({ message }, context) => {
      const schema = object({ username: string("User's response"), email: string("User's email address") });
      return text(`User response: ${elicited(await elicit(context, "user", message, schema))}`);
    },
  },
  test_elicitation_sep1034_defaults: {
    description: "Asks for one field of each primitive type, each with a default",
    run: async (_, context) => {
      const schema = object(
        {
          name: { type: "string", description: "User name", default: "John Doe" },
          age: { type: "integer", description: "User age", default: 30 },
          score: { type: "number", description: "User score", default: 95.5 },
          status: {
            type: "string",
            description: "User status",
            enum: ["active", "inactive", "pending"],
            default: "active",
          },
          verified: { type: "boolean", description: "Verification status", default: true },
        },
        [],
      );
      const answer = await elicit(context, "fields", "Please review and update the form fields with defaults", schema);
      return text(`Elicitation completed: ${elicited(answer)}`);
    },
  },
  test_elicitation_sep1330_enums: {
    description: "Asks for one field of each kind of enum",
    run: async (_, context) => {
      const titled = (prefix) => [1, 2, 3].map((n) => ({ const: `${prefix}${n}`, title: `Option ${n}` }));
      const schema = object(
        {
          untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
          titledSingle: { type: "string", oneOf: titled("value") },
          legacyEnum: {
            type: "string",
            enum: ["opt1", "opt2", "opt3"],
            enumNames: ["Option One", "Option Two", "Option Three"],
          },
          untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
          titledMulti: { type: "array", items: { anyOf: titled("value") } },
        },
        [],
      );
      const answer = await elicit(context, "options", "Please select options", schema);
      return text(`Elicitation completed: ${elicited(answer)}`);
    },
  },
  test_missing_capability: {
    description: "Needs the client's sampling",
    run: async (_, context) => text(`LLM response: ${sampled(await sample(context, "anything", "Say anything"))}`),
  },
  test_streaming_elicitation: {
    description: "Asks the client's user for a name",
    run: async (_, context) => text(`User response: ${elicited(await askName(context))}`),
  },
};

// === Tools of the modern set, with their twins in the legacy idiom ===

const rounds = {
  test_input_required_result_elicitation: {
    description: "Asks for the user's name",
    run: async (_, context) => text(`Hello: ${elicited(await askName(context))}`),
  },
  test_input_required_result_sampling: {
    description: "Asks the client's model for a capital",
    run: async (_, context) => text(`LLM response: ${sampled(await sample(context, "capital_question", "What is the capital of France?"))}`),
  },
  test_input_required_result_list_roots: {
    description: "Asks for the client's roots",
    run: async (_, context) => text(`Roots: ${JSON.stringify((await listRoots(context)).roots)}`),
  },
  test_input_required_result_request_state: {
    description: "Asks for a confirmation",
    sealed: true,
    run: async (_, context) => text(`state-ok: ${elicited(await askOk(context))}`),
  },
  test_input_required_result_tampered_state: {
    description: "Asks for a confirmation",
    sealed: true,
    run: async (_, context) => text(`state-ok: ${elicited(await askOk(context))}`),
  },
  test_input_required_result_capabilities: {
    description: "Asks the client's model only",
    run: async (_, context) => text(`LLM response: ${sampled(await sample(context, "anything", "Say anything"))}`),
  },
  test_input_required_result_multiple_inputs: {
    description: "Asks the user, the model and for the roots, all at once",
    sealed: true,
    run: async (_, context) => {
      const [name, greeting, { roots }] = await Promise.all([
        askName(context),
        sample(context, "greeting", "Generate a greeting"),
        listRoots(context),
      ]);
      return text(`state-ok: ${elicited(name)}; ${sampled(greeting)}; ${JSON.stringify(roots)}`);
    },
  },
  test_input_required_result_multi_round: {
    description: "Asks the user twice, the second time after the first answer",
    sealed: true,
    run: async (_, context) => {
      const name = await askName(context);
      const schema = object({ color: { type: "string" } });
      const colour = await elicit(context, "color", "What is your favorite color?", schema);
      return text(`Round one: ${elicited(name)}; round two: ${elicited(colour)}`);
    },
  },
};

// === Schemas ===

const schemas = {
  test_x_mcp_header: {
    description: "Repeats its region, which a modern client also sends as a header",
    inputSchema: object({ region: { type: "string", description: "The region", "x-mcp-header": "Region" } }, []),
    run: ({ region }) => text(`Region: ${region ?? "none"}`),
  },
  json_schema_2020_12_tool: {
    description: "Tool with JSON Schema 2020-12 features",
    inputSchema: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      $defs: {
        address: {
          $anchor: "addressDef",
          type: "object",
          properties: { street: { type: "string" }, city: { type: "string" } },
        },
      },
      properties: {
        name: { type: "string" },
        address: { $ref: "#/$defs/address" },
        contactMethod: { type: "string", enum: ["phone", "email"] },
        phone: { type: "string" },
        email: { type: "string" },
      },
      allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
      if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
      then: { required: ["phone"] },
      else: { required: ["email"] },
      additionalProperties: false,
    },
    run: (given) => text(`Received: ${JSON.stringify(given)}`),
  },
};

/**
 * By name: `description`, `inputSchema`, `run(arguments, context)`, and whether the modern fixture remembers in a sealed
 * `requestState` what it was answered so far.
 */
export const tools = { ...content, ...notifications, ...asks, ...rounds, ...schemas };
for (const tool of Object.values(tools)) tool.inputSchema ??= NO_ARGUMENTS;

/** What tools/list answers. */
export function listedTools(state) {
  return Object.entries(tools)
    .filter(([name]) => name !== "test_toggled_tool" || state.extraTool)
    .map(([name, { description, inputSchema }]) => ({ name, description, inputSchema }));
}
