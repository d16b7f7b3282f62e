/** Rulesets of landlockconfig, in JSON. */

import { groupBy } from "../../group.js";
import { compilePolicy } from "../compile.js";
import { isPathVerb, SOCKET_VERBS, type Spec } from "../model.js";
import { plainPath } from "../object.js";
import { expanded } from "../tokens.js";
import { type Exported, type ExportOptions, judgeAll, type Target, unionRemark } from "./target.js";

/** Version of Landlock whose names are used. */
const ABI = 6;

export const landlock: Target = {
  name: "landlock",
  summary: "landlockconfig ruleset (JSON)",
  perRole: false,
  export: exportLandlock,
};

function exportLandlock(spec: Spec, { tokens }: ExportOptions): Exported {
  const { policy } = compilePolicy(spec, { tokens, supervise: "never" });
  const { rules, connect, bind, scopeAbstract, scopeSignal } = policy.landlock;
  const net = [...(connect ? ["connect_tcp"] : []), ...(bind ? ["bind_tcp"] : [])];
  const scoped = [
    ...(scopeAbstract ? ["abstract_unix_socket"] : []),
    ...(scopeSignal ? ["signal"] : []),
  ];
  // One entry for all paths with the same rights.
  const byRights = groupBy(
    rules.filter(({ path }) => isNameable(path)),
    ({ rights }) => rights.join(" "),
  );
  const config = {
    abi: ABI,
    ruleset: [
      {
        handledAccessFs: ["abi.all"],
        ...(net.length > 0 && { handledAccessNet: net }),
        ...(scoped.length > 0 && { scoped }),
      },
    ],
    pathBeneath: [...byRights].map(([rights, places]) => ({
      allowedAccess: rights.split(" "),
      parent: places.map(({ path }) => path),
    })),
    netPort: [
      ...(connect?.length ? [{ allowedAccess: ["connect_tcp"], port: connect }] : []),
      ...(bind?.length ? [{ allowedAccess: ["bind_tcp"], port: bind }] : []),
    ],
  };
  const { pathBeneath, netPort, ...rest } = config;
  const used = {
    ...rest,
    ...(pathBeneath.length > 0 && { pathBeneath }),
    ...(netPort.length > 0 && { netPort }),
  };
  return {
    text: `${JSON.stringify(used, undefined, 2)}\n`,
    judged: judgeAll(spec, ({ verb, object }) => {
      if (verb === "syscall") return ["lost", "Landlock does not filter calls: all pass"];
      if (SOCKET_VERBS.has(verb)) {
        if (!object.startsWith("tcp:")) return ["lost", "only TCP ports are restricted"];
        if (verb === "listen" || verb === "accept")
          return ["lost", "only bind and connect are restricted"];
        return object.startsWith("tcp:*:") ? ["kept"] : ["widened", "the port, at any address"];
      }
      if (!isPathVerb(verb))
        return object === "outside" || object === "any"
          ? ["kept"]
          : ["widened", "any process of the tree"];
      if (verb === "stat" || verb === "chmeta") return ["lost", "Landlock does not restrict it"];
      if (verb.startsWith("ioctl:")) return ["widened", "any ioctl of the device"];
      if (!isNameable(expanded(object, tokens)))
        return ["lost", "the format takes a part of the name for a variable: it is refused"];
      if (/^(?:create|delete|rename)$/.test(verb)) return ["widened", "any name in the directory"];
      return plainPath(expanded(object, tokens)) === undefined
        ? ["widened", "the whole directory"]
        : ["kept"];
    }),
    remarks: [
      ...unionRemark(spec),
      "rules stand on files as they are now: a file that is replaced is another one",
    ],
  };
}

/** Whether a path stands for itself: there are variables, and no way to write what looks like one. */
function isNameable(path: string): boolean {
  return !path.includes("${");
}
