/** Ports that the kernel chose: others in each run. */

/** First port that Linux gives out by itself (ip(7), ip_local_port_range). */
const FIRST_CHOSEN = 32_768;

/** The port of an address, when it is in the range from which the kernel chooses. */
export function chosenPort(address: string): string | undefined {
  const port = /:(\d+)$/.exec(address)?.[1];
  return port !== undefined && Number(port) >= FIRST_CHOSEN ? port : undefined;
}
