/**
 * The library: what programs get from `import ... from "trace-syscalls"`. It lists the public names
 * and defines none. Everything is asynchronous; the event loop stays free while a program runs.
 */

export { TraceError, type TraceErrorOptions } from "./errors.js";
