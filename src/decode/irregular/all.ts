/** All families of irregular decoders. A new family is a new file and one line here. */

import { aioFamily } from "./aio.js";
import { bpfFamily } from "./bpf.js";
import { cloneFamily } from "./clone.js";
import { direntsFamily } from "./dirents.js";
import { fcntlFamily } from "./fcntl.js";
import { file } from "./file.js";
import { futexFamily } from "./futex.js";
import { ioUringFamily } from "./io_uring.js";
import { ioctlFamily } from "./ioctl.js";
import { ipcFamily } from "./ipc.js";
import { keyctlFamily } from "./keyctl.js";
import { landlockFamily } from "./landlock.js";
import { limits } from "./limits.js";
import { lsmFamily } from "./lsm.js";
import { mempolicyFamily } from "./mempolicy.js";
import { messageFamily } from "./message.js";
import { modifyLdtFamily } from "./modify_ldt.js";
import { mountFamily } from "./mount.js";
import { perfEventFamily } from "./perf_event.js";
import { pollFamily } from "./poll.js";
import { prctlFamily } from "./prctl.js";
import { ptraceFamily } from "./ptrace.js";
import { quotactlFamily } from "./quotactl.js";
import { type Family, register } from "./registry.js";
import { schedulingFamily } from "./scheduling.js";
import { seccompFamily } from "./seccomp.js";
import { signal } from "./signal.js";
import { small } from "./small.js";
import { sockaddrFamily } from "./sockaddr.js";
import { socketFamily } from "./socket.js";
import { statmountFamily } from "./statmount.js";
import { wait } from "./wait.js";
import { xattrArgsFamily } from "./xattr_args.js";

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
  small,
  sockaddrFamily,
  wait,
  aioFamily,
  bpfFamily,
  ioUringFamily,
  ipcFamily,
  keyctlFamily,
  landlockFamily,
  lsmFamily,
  mempolicyFamily,
  schedulingFamily,
  modifyLdtFamily,
  mountFamily,
  perfEventFamily,
  ptraceFamily,
  quotactlFamily,
  seccompFamily,
  statmountFamily,
  xattrArgsFamily,
];

for (const family of FAMILIES) register(family);
