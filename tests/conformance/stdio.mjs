// Runs a fixture over stdio: `stdio.mjs legacy | modern | dual`. Appends one line to the file named by FIXTURE_STARTS, so
// that a test can count starts.

import { appendFileSync } from "node:fs";
import { load } from "./sdk.mjs";

const [era = "legacy"] = process.argv.slice(2);
if (process.env.FIXTURE_STARTS) appendFileSync(process.env.FIXTURE_STARTS, `${process.pid}\n`);

if (era === "legacy") {
  const { StdioServerTransport } = load("@modelcontextprotocol/sdk/server/stdio.js");
  const { createLegacy } = await import("./legacy.mjs");
  await createLegacy().connect(new StdioServerTransport());
} else {
  const { serveStdio } = load("@modelcontextprotocol/server/stdio");
  const { createModern } = await import("./modern.mjs");
  serveStdio(() => createModern(), { legacy: era === "dual" ? "serve" : "reject" });
}
