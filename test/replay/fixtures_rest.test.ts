/** Programs that show every replay of signals, faults, traps, files and languages that is not exact. */

import { isOfTasks, proveReplay } from "./fixture_tests.js";

proveReplay("replay", (name) => !isOfTasks(name));
