/** The programs that make each syscall once. */

import { proveReplay } from "./fixture_tests.js";

proveReplay("programs");
