/** Socket addresses of decoded calls, as columns have them. */

import type { Call, Value } from "../decode/value.js";

/** One end of a socket. */
export interface Endpoint {
  /** `AF_INET`; empty when unknown. */
  readonly family: string;
  /** IP address, path, or `@name` of an abstract socket. */
  readonly address: string;
  readonly port: number | undefined;
  /** `127.0.0.1:80`, `[::1]:80`, `/run/socket`, `@name`. */
  readonly text: string;
}

const utf8 = new TextDecoder();

/** The value of an argument behind pointers; of one that a call changes, what it is afterwards. */
function inner(value: Value): Value {
  if (value.kind === "deref") return inner(value.value);
  return value.kind === "change" ? inner(value.after) : value;
}

function textOf(value: Value): string {
  switch (value.kind) {
    case "bytes":
      return utf8.decode(value.bytes);
    case "choice":
      return value.name ?? String(value.value);
    case "int":
      return String(value.value);
    case "symbol":
      return value.text;
    case "apply":
      return String(value.plain ?? (value.args[0] === undefined ? "" : textOf(value.args[0])));
    case "list":
      return value.plain ?? "";
    default:
      return "";
  }
}

/** The address in a struct sockaddr; undefined for other values, and for families without addresses of this kind. */
export function endpointOf(value: Value | undefined): Endpoint | undefined {
  const struct = value && inner(value);
  if (struct?.kind !== "struct" || struct.name !== "sockaddr") return undefined;
  const member = (name: string) =>
    struct.fields.find((field) => (field.key ?? field.name) === name)?.value;
  const text = (name: string) => {
    const found = member(name);
    return found === undefined ? "" : textOf(found);
  };
  const family = text("sa_family");
  const port = member("sin_port") ?? member("sin6_port");
  const number = port === undefined ? undefined : Number(textOf(port));
  const v6 = text("sin6_addr").replaceAll('"', "");
  const address = text("sin_addr") || v6 || text("sun_path");
  if (address === "") return undefined;
  const host = v6 === "" ? address : `[${address}]`;
  return {
    family,
    address,
    port: number,
    text: number === undefined ? address : `${host}:${number}`,
  };
}

/** The first socket address among the arguments. */
export function endpointOfCall(call: Call): Endpoint | undefined {
  for (const { value } of call.args) {
    const found = endpointOf(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
