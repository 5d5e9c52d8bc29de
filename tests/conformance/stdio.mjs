// Runs the fixture over stdio. Appends one line to the file named by FIXTURE_STARTS, so that a test can count starts.

import { appendFileSync } from "node:fs";
import { createFixture } from "./fixture.mjs";
import { load } from "./sdk.mjs";

const { StdioServerTransport } = load("@modelcontextprotocol/sdk/server/stdio.js");

if (process.env.FIXTURE_STARTS) appendFileSync(process.env.FIXTURE_STARTS, `${process.pid}\n`);
await createFixture().connect(new StdioServerTransport());
