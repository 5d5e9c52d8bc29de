// The modern fixture: the same server on the TypeScript SDK 2.4, for the revision 2026-07-28.
//
// A tool that asks ends its call with `input_required`, and is run again when the client comes back with the answers. The
// SDK does what is the protocol's: envelopes, capabilities, result types, cache hints, listening, and, where it also
// serves legacy clients, turning `input_required` into requests to them.

import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { load } from "./sdk.mjs";
import { answers, createState, IDENTITY, OPTIONS } from "./answers.mjs";
import { tools } from "./tools.mjs";

const sdk = load("@modelcontextprotocol/server");

/** What an answer to each request must be; anything else is asked for again. */
const KINDS = { "elicitation/create": "elicit", "sampling/createMessage": "sampling", "roots/list": "roots" };

const refuse = {
  invalid: (message) => {
    throw new sdk.ProtocolError(sdk.ProtocolErrorCode.InvalidParams, message);
  },
  noResource: (uri) => {
    throw new sdk.ResourceNotFoundError(uri);
  },
};

const codec = sdk.createRequestStateCodec({ key: randomBytes(32), bind: (ctx) => ctx.mcpReq.method });

/**
 * Builds one server. Over HTTP there is one for each request: `state` then is what they share, and `broadcast` reaches
 * those who listen.
 */
export function createModern({ state = createState(), broadcast } = {}) {
  const server = new sdk.Server(IDENTITY, { ...OPTIONS, requestState: { verify: codec.verify } });
  const announce = broadcast ?? ((method, params) => server.notification(params ? { method, params } : { method }));

  const contextOf = ({ mcpReq }, ask) => ({
    state,
    progressToken: mcpReq._meta?.progressToken,
    ask,
    notify: (method, params) => mcpReq.notify({ method, params }),
    broadcast: announce,
    log: (level, data) => mcpReq.log(level, data, "fixture"),
    dropStream: () => {},
  });

  for (const [method, answer] of Object.entries(answers(refuse))) {
    server.setRequestHandler(method, ({ params = {} }, ctx) =>
      runUntilAsked(method, params, ctx, (ask) => answer(params, contextOf(ctx, ask))),
    );
  }
  // For the legacy clients of a dual-era server; a modern one listens.
  server.setRequestHandler("resources/subscribe", async () => ({}));
  server.setRequestHandler("resources/unsubscribe", async () => ({}));
  return server;
}

/**
 * Runs a handler that may ask. What was answered already, in this round or (sealed in the state) in earlier ones, it gets
 * at once; when it needs more, it is left where it stands, and the call ends with all that it asked for until then.
 */
async function runUntilAsked(method, params, ctx, run) {
  const held = ctx.mcpReq.requestState() ?? { name: params.name, answered: {} };
  if (held.name !== params.name) refuse.invalid("requestState of another call");
  const { answered } = held;
  const inputRequests = {};
  const asked = Promise.withResolvers();
  const ask = (key, kind, request) => {
    const response = ctx.mcpReq.inputResponses?.[key];
    if (sdk.inputResponse({ [key]: response }, key).kind === KINDS[kind]) answered[key] = response;
    if (Object.hasOwn(answered, key)) return answered[key];
    inputRequests[key] = request ? { method: kind, params: request } : { method: kind };
    asked.resolve(turn()); // what is asked for in the same go is one round
    return new Promise(() => {});
  };
  const result = await Promise.race([run(ask), asked.promise]);
  if (!Object.keys(inputRequests).length) return result;
  const sealed = method === "tools/call" && tools[params.name].sealed;
  const state = sealed ? { requestState: await codec.mint({ name: params.name, answered }, ctx) } : {};
  return sdk.inputRequired({ inputRequests, ...state });
}
