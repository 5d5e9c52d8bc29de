// What a fixture answers to each method, in any era: the handlers without an SDK around them.

import { listedTools, tools } from "./tools.mjs";
import { prompts, resources, resourceTemplates } from "./catalogue.mjs";

export const IDENTITY = { name: "hub-conformance-fixture", title: "Conformance fixture", version: "1.0.0" };

export const OPTIONS = {
  capabilities: {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true, subscribe: true },
    logging: {},
    completions: {},
  },
  instructions: "A test fixture: every tool answers what the conformance suite expects of it.",
};

/** What calls change. One for each fixture process, whatever number of SDK servers serve it. */
export const createState = () => ({ extraTool: false, extraPrompt: false });

const given = (entries, { name, arguments: values = {} }, kind, required, refuse) => {
  const entry = Object.hasOwn(entries, name) ? entries[name] : refuse.invalid(`Unknown ${kind}: ${name}`);
  for (const argument of required(entry)) {
    if (values[argument] === undefined) refuse.invalid(`The ${kind} ${name} needs the argument ${argument}`);
  }
  return { entry, values };
};

/**
 * By method: `(params, context)` to result. `refuse.invalid(message)` and `refuse.noResource(uri)` throw the era's errors;
 * `context` is what tools.mjs says.
 */
export const answers = (refuse) => ({
  "tools/list": (_, { state }) => ({ tools: listedTools(state) }),
  "tools/call": (params, context) => {
    const { entry, values } = given(tools, params, "tool", (tool) => tool.inputSchema.required ?? [], refuse);
    return entry.run(values, context);
  },
  "prompts/list": (_, { state }) => ({
    prompts: Object.entries(prompts)
      .filter(([name]) => name !== "test_toggled_prompt" || state.extraPrompt)
      .map(([name, { render, ...entry }]) => ({ name, ...entry })),
  }),
  "prompts/get": async (params, context) => {
    const required = ({ arguments: all = [] }) => all.filter((argument) => argument.required).map(({ name }) => name);
    const { entry, values } = given(prompts, params, "prompt", required, refuse);
    return { description: entry.description, messages: await entry.render(values, context) };
  },
  "resources/list": () => ({ resources: resources.map(({ read, ...entry }) => entry) }),
  "resources/templates/list": () => ({ resourceTemplates }),
  "resources/read": ({ uri }) => {
    const resource = resources.find((candidate) => candidate.uri === uri);
    if (resource) return { contents: [{ uri, mimeType: resource.mimeType, ...resource.read() }] };
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1] ?? refuse.noResource(uri);
    const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri, mimeType: "application/json", text }] };
  },
  "completion/complete": ({ argument }) => {
    const values = ["test", "testing", "tested"].filter((word) => word.startsWith(argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  },
});
