/** The programs that were written to show every replay that is not exact. */

import { proveReplay } from "./fixture_tests.js";

proveReplay("replay");
