// Loads packages from the pinned test environment, so that no script here needs a node_modules folder of its own.
//
// scripts/test installs the packages under .test-env/npm at the top of the project, or where HUB_TEST_ENV says.

import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const top = fileURLToPath(new URL("../..", import.meta.url));
const environment = resolve(top, process.env.HUB_TEST_ENV || ".test-env");

export const load = createRequire(resolve(environment, "npm", "package.json"));
