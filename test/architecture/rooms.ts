/** The map of the house: DESIGN.md §4 as data. Lower rooms first; a room imports only what stands beside it. */

export interface Room {
  readonly imports: readonly string[]
  /** No clock, no dice, no I/O, no async. */
  readonly pure?: true
}

const thinking = ["consensus", "manifests", "state", "scheduler"]

export const rooms: Readonly<Record<string, Room>> = {
  lib: { imports: [], pure: true },
  schema: { imports: ["lib"], pure: true },
  consensus: { imports: ["lib"], pure: true },
  manifests: { imports: ["lib", "schema"], pure: true },
  state: { imports: ["lib", "schema"], pure: true },
  scheduler: { imports: ["lib", "schema", "state"], pure: true },
  wire: { imports: ["lib", "schema", "consensus", "state"], pure: true },
  platform: { imports: ["lib", "schema"] },
  mesh: { imports: ["lib", "schema", "platform", "wire"] },
  storage: { imports: ["lib", "schema", "platform", "wire"] },
  keeper: { imports: ["lib", "schema", "platform", "wire"] },
  transfer: { imports: ["lib", "schema", "platform", "wire"] },
  bundles: { imports: ["lib", "schema", "platform"] },
  config: { imports: ["lib", "schema", "platform"] },
  node: { imports: ["lib", "schema", "platform", "wire", ...thinking] },
  api: { imports: ["lib", "schema", "platform", "manifests", "node"] },
  assembly: {
    imports: [
      "lib",
      "schema",
      "platform",
      "wire",
      ...thinking,
      "mesh",
      "storage",
      "keeper",
      "transfer",
      "bundles",
      "config",
      "node",
      "api",
    ],
  },
  client: { imports: ["lib", "schema"] },
  cli: {
    imports: ["lib", "schema", "platform", "config", "bundles", "manifests", "client", "assembly"],
  },
}

/** Who may import what from outside. A prefix covers everything below it. */
export const owners: Readonly<Record<string, readonly string[]>> = {
  libp2p: ["mesh"],
  "@libp2p/": ["mesh"],
  "@chainsafe/": ["mesh"],
  "@multiformats/": ["mesh"],
  "it-": ["mesh"],
  level: ["storage"],
  "classic-level": ["storage"],
  fastify: ["api"],
  "@fastify/": ["api"],
  commander: ["cli"],
  yaml: ["manifests", "config", "cli"],
  pino: ["platform"],
  "node:child_process": ["keeper", "platform", "assembly"],
  "node:worker_threads": ["storage", "bundles", "assembly"],
  "node:fs": ["storage", "bundles", "config", "keeper", "transfer", "network", "api", "cli"],
  "node:net": ["keeper", "mesh", "api", "cli"],
}
