/** What a checked run manifest says: defaults filled in, names of the original kept in meaning. */
import type { Limits, Needs } from "../schema/index.ts"

/** Where something stands in its file; both count from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export const distributions = ["inline", "push", "preinstalled"] as const
export const personalities = ["adapter", "logix_like"] as const
export const readinessMethods = [
  "structured_stdout",
  "tcp_connect",
  "stdout_match",
  "delay",
] as const
export const bundleFormats = ["dir", "zip"] as const
export const lives = ["server", "batch"] as const

/** The two roles that the original knows; only they can run without a `command`. */
export const seedRoles = ["server", "client"] as const
export const seedProgram = "cipdip"

export const targetPortDefault = 44_818
export const readinessTimeoutSecondsDefault = 30

export interface ReadinessSpec {
  readonly method: (typeof readinessMethods)[number]
  readonly timeoutSeconds: number
  /** Of `stdout_match`. */
  readonly pattern: string | undefined
  /** Of `delay`. */
  readonly seconds: number | undefined
  /** Of `tcp_connect`; both may hold variables. */
  readonly host: string | undefined
  readonly port: string | undefined
}

export interface ProfileSpec {
  readonly path: string
  readonly distribution: (typeof distributions)[number]
  readonly checksum: string | undefined
}

export interface NetworkSpec {
  readonly controlPlane: string | undefined
  readonly clientBindIp: string | undefined
  readonly serverListenIp: string | undefined
  readonly targetIp: string | undefined
  readonly targetPort: number
}

/** `args` as written: a map keeps its values for manifest_resolved.yaml, a list is taken as it stands. */
export type ArgsSpec =
  | { readonly list: readonly string[] }
  | { readonly map: ReadonlyMap<string, string | number | boolean> }

export interface RoleSpec {
  readonly name: string
  /** As written; undefined lets the scheduler choose. */
  readonly agent: string | undefined
  /** Program and its first arguments; undefined runs the seed's own program. */
  readonly command: readonly string[] | undefined
  readonly args: ArgsSpec | undefined
  readonly env: ReadonlyMap<string, string>
  readonly artifacts: readonly string[]
  readonly needs: Needs
  readonly limits: Limits | undefined
  readonly life: (typeof lives)[number]
  /** Its own, or the document's; undefined when neither says anything and a `command` is given. */
  readonly readiness: ReadinessSpec | undefined
  readonly port: number | undefined
  readonly mode: string | undefined
  readonly personality: string | undefined
  readonly scenario: string | undefined
  readonly profileRole: string | undefined
  readonly durationSeconds: number | undefined
  readonly intervalMs: number | undefined
}

export interface ManifestSpec {
  /** The name it was read under, for messages. */
  readonly file: string
  /** `undefined`: to be named by the time of its start. */
  readonly runId: string | undefined
  readonly seed: number | undefined
  readonly profile: ProfileSpec | undefined
  readonly network: NetworkSpec
  readonly roles: readonly RoleSpec[]
  readonly readiness: ReadinessSpec
  readonly bundleFormat: (typeof bundleFormats)[number]
  readonly include: readonly string[]
  readonly analyze: boolean
  readonly diffBaseline: string | undefined
  /** Where the value at a dotted path stands, for mistakes that only compiling can find. */
  readonly places: ReadonlyMap<string, Place>
}
