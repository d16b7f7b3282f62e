/**
 * The one error type that users see. It says what happened, and how to get out of it; it never
 * carries a stack to the terminal. Errors that are not a `TraceError` are bugs, and cli.ts says so.
 */

export interface TraceErrorOptions {
  /** The way out, best as the exact command that helps. */
  readonly hint?: string;
  /** Exit code of the process; left out, the command's own failure code is used. */
  readonly exitCode?: number;
  readonly cause?: unknown;
}

export class TraceError extends Error {
  override readonly name = "TraceError";
  /** Stable, upper case with underscores (`NOT_A_TRACE`), for programs that use the library. */
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: number | undefined;

  constructor(code: string, message: string, options: TraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.exitCode = options.exitCode;
  }

  /** The same error for a command that fails with this code, unless it has one of its own. */
  forExitCode(exitCode: number): TraceError {
    if (this.exitCode !== undefined) return this;
    return Object.defineProperty(this, "exitCode", { value: exitCode });
  }
}

/** The command line itself is wrong. */
export function usageError(message: string, hint?: string): TraceError {
  return new TraceError("USAGE", message, hint === undefined ? {} : { hint });
}

/** True for errors of the operating system as node raises them (`ENOENT`, `EACCES`, ...). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}
