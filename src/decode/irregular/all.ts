/** All families of irregular decoders. A new family is a new file and one line here. */

import { file } from "./file.js";
import { register } from "./registry.js";
import { signal } from "./signal.js";
import { wait } from "./wait.js";

for (const family of [file, signal, wait]) register(family);
