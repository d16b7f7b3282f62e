/** All families of irregular decoders. A new family is a new file and one line here. */

import { cloneFamily } from "./clone.js";
import { direntsFamily } from "./dirents.js";
import { fcntlFamily } from "./fcntl.js";
import { file } from "./file.js";
import { futexFamily } from "./futex.js";
import { ioctlFamily } from "./ioctl.js";
import { limits } from "./limits.js";
import { messageFamily } from "./message.js";
import { pollFamily } from "./poll.js";
import { prctlFamily } from "./prctl.js";
import { type Family, register } from "./registry.js";
import { signal } from "./signal.js";
import { sockaddrFamily } from "./sockaddr.js";
import { socketFamily } from "./socket.js";
import { wait } from "./wait.js";

const FAMILIES: readonly Family[] = [
  cloneFamily,
  fcntlFamily,
  file,
  futexFamily,
  ioctlFamily,
  limits,
  socketFamily,
  messageFamily,
  direntsFamily,
  pollFamily,
  prctlFamily,
  signal,
  sockaddrFamily,
  wait,
];

for (const family of FAMILIES) register(family);
