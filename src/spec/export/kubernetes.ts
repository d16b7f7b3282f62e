/** Kubernetes NetworkPolicy, networking.k8s.io/v1. */

import { Document } from "yaml";
import { SOCKET_VERBS, type Spec } from "../model.js";
import { parseAddress, type SocketAddress } from "../object.js";
import { type Exported, type ExportOptions, judgeAll, sentTo, type Target } from "./target.js";

export const kubernetes: Target = {
  name: "k8s-networkpolicy",
  summary: "Kubernetes NetworkPolicy (YAML)",
  perRole: false,
  export: exportPolicy,
};

const PROTOCOLS: Readonly<Record<string, string>> = { tcp: "TCP", udp: "UDP", sctp: "SCTP" };

function exportPolicy(spec: Spec, { name }: ExportOptions): Exported {
  const egress = new Map<string, object>();
  const ingress = new Map<string, object>();
  for (const { verb, object } of spec.roles.flatMap(({ grants }) => grants)) {
    const address = SOCKET_VERBS.has(verb) ? parseAddress(object) : undefined;
    if (address === undefined || !hasPolicy(address)) continue;
    if (verb === "connect" && !isLoopback(address))
      egress.set(object, { ...peers("to", address), ports: portsOf(address) });
    if ((verb === "listen" || verb === "bind") && !isLoopback(address))
      ingress.set(`${address.protocol} ${address.port}`, { ports: portsOf(address) });
  }
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: named(name.toLowerCase(), /[^a-z0-9-]/g) },
    spec: {
      podSelector: { matchLabels: { app: named(name, /[^\w.-]/g) } },
      policyTypes: ["Ingress", "Egress"],
      ...(ingress.size > 0 && { ingress: [...ingress.values()] }),
      egress: [DNS, ...egress.values()],
    },
  };
  const document = new Document(policy, { aliasDuplicateObjects: false });
  document.commentBefore =
    " Made of a sandbox spec. podSelector has to choose the pods of the program.";
  return {
    text: document.toString({ lineWidth: 0 }),
    judged: judgeAll(spec, ({ verb, object }) => {
      const address = SOCKET_VERBS.has(verb) ? parseAddress(object) : undefined;
      if (address === undefined || !hasPolicy(address))
        return ["lost", "not the network: nothing holds it here"];
      if (isLoopback(address)) return ["widened", "inside of a pod nothing is restricted"];
      if (verb === "accept") return ["widened", "comes with the port, from anywhere"];
      return verb === "connect" ? ["kept"] : ["widened", "from anywhere"];
    }),
    remarks: [
      "addresses are those that the recordings saw: names that lead elsewhere tomorrow are refused",
      "DNS in the namespace kube-system is allowed in any case",
    ],
  };
}

/** Longest value of a label. */
const MAX_NAME = 63;

/** A name without what may not stand in it; letters and digits are at its ends. */
function named(name: string, forbidden: RegExp): string {
  const plain = name.replace(forbidden, "-").replace(/^[^A-Za-z0-9]+/, "");
  return plain.slice(0, MAX_NAME).replace(/[^A-Za-z0-9]+$/, "") || "spec";
}

/** By the namespace, since policies do not know services. */
const DNS = {
  to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } } }],
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};

function hasPolicy({ protocol, port }: SocketAddress): boolean {
  return port !== undefined && PROTOCOLS[protocol] !== undefined;
}

function isLoopback(address: SocketAddress): boolean {
  const host = sentTo(address);
  return host === "::1" || host.startsWith("127.");
}

function peers(key: "to" | "from", address: SocketAddress): object {
  const host = sentTo(address);
  if (host === "*" || host === "0.0.0.0" || host === "::") return {};
  return { [key]: [{ ipBlock: { cidr: `${host}/${host.includes(":") ? 128 : 32}` } }] };
}

function portsOf({ protocol, port }: SocketAddress): object[] {
  const named = { protocol: PROTOCOLS[protocol] };
  return [port === "*" || port === 0 ? named : { ...named, port }];
}
