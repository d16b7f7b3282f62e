/** Programs that show every replay of threads, processes and memory that is not exact. */

import { isOfTasks, proveReplay } from "./fixture_tests.js";

proveReplay("replay", isOfTasks);
