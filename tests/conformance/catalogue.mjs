// The fixtures' prompts and resources, for all eras.

import { PNG } from "./media.mjs";

const user = (content) => ({ role: "user", content });
const text = (value) => ({ type: "text", text: value });

/** By name: the listed entry plus `render(arguments, context)`, which gives the messages. */
export const prompts = {
  test_simple_prompt: {
    description: "A prompt without arguments",
    render: () => [user(text("This is a simple prompt for testing."))],
  },
  test_prompt_with_arguments: {
    description: "A prompt that repeats its two arguments",
    arguments: [
      { name: "arg1", description: "First test argument", required: true },
      { name: "arg2", description: "Second test argument", required: true },
    ],
    render: ({ arg1, arg2 }) => [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
  },
  test_prompt_with_embedded_resource: {
    description: "A prompt that embeds the resource it is given",
    arguments: [{ name: "resourceUri", description: "URI of the resource to embed", required: true }],
    render: ({ resourceUri }) => [
      user({
        type: "resource",
        resource: { uri: resourceUri, mimeType: "text/plain", text: "Embedded resource content for testing." },
      }),
      user(text("Please process the embedded resource above.")),
    ],
  },
  test_prompt_with_image: {
    description: "A prompt with an image",
    render: () => [
      user({ type: "image", data: PNG, mimeType: "image/png" }),
      user(text("Please analyze the image above.")),
    ],
  },
  test_input_required_result_prompt: {
    description: "A prompt that asks its user for context before it answers",
    render: async (_, { ask }) => {
      const requestedSchema = { type: "object", properties: { context: { type: "string" } }, required: ["context"] };
      const params = { message: "What context should the prompt use?", requestedSchema };
      const { action, content } = await ask("user_context", "elicitation/create", params);
      return [user(text(`Prompt with context: action=${action}, content=${JSON.stringify(content ?? {})}`))];
    },
  },
  test_toggled_prompt: {
    description: "Comes and goes with test_trigger_prompt_change",
    render: () => [user(text("The toggled prompt."))],
  },
};

/** The listed entry plus `read()`, which gives the body. The first one must be readable. */
export const resources = [
  {
    uri: "test://static-text",
    name: "static-text",
    description: "A static text resource",
    mimeType: "text/plain",
    read: () => ({ text: "This is the content of the static text resource." }),
  },
  {
    uri: "test://static-binary",
    name: "static-binary",
    description: "A static binary resource",
    mimeType: "image/png",
    read: () => ({ blob: PNG }),
  },
  {
    uri: "test://watched-resource",
    name: "watched-resource",
    description: "A resource to subscribe to",
    mimeType: "text/plain",
    read: () => ({ text: "Watched resource content." }),
  },
];

export const resourceTemplates = [
  {
    uriTemplate: "test://template/{id}/data",
    name: "template-data",
    description: "Data by id",
    mimeType: "application/json",
  },
];
