/** A plain order, to be varied. */
import type { LaunchSpec } from "../../../src/wire/index.ts"

export function anOrder(more: Partial<LaunchSpec> = {}): LaunchSpec {
  return {
    clusterId: "c-1",
    term: 1,
    fence: 10,
    lease: 2,
    run: "r-1",
    task: "server",
    attempt: 1,
    argv: ["true"],
    env: {},
    directory: false,
    files: [],
    graceMs: 1000,
    onKeeperDeath: "survive",
    outputBytesMax: 1 << 20,
    ...more,
  }
}
