/** Flags, environment, file, preset and defaults become one frozen Config, or all mistakes at once. */
import { resolve } from "node:path"
import { type Issue, TroupeError } from "../schema/index.ts"
import { type Address, formatAddress, isLoopback } from "./address.ts"
import {
  defaultData,
  defaultName,
  type Machine,
  presets,
  thisMachine,
  type Timing,
} from "./defaults.ts"
import { apiPort, type FieldName, fieldNames, flagName, meshPort, noteOf } from "./fields.ts"
import {
  type Environment,
  type Flags,
  readConfigFile,
  readEnvironment,
  readFlags,
  type Source,
} from "./sources.ts"

/** Everything a node is told, complete and frozen. */
export interface Config {
  readonly name: string
  /** Absolute. */
  readonly data: string
  readonly cluster: string
  /** The mesh. */
  readonly listen: Address
  /** REST. */
  readonly api: Address
  /** Multiaddrs, some with `/p2p/<peer id>`. */
  readonly join: readonly string[]
  /** New nodes that must hear each other before one founds a cluster; absent: any node may alone. */
  readonly expect?: number
  readonly labels: Readonly<Record<string, string>>
  readonly voter: "auto" | "never"
  readonly insecure: boolean
  readonly mdns: boolean
  /** Most attempts at once. */
  readonly capacity: number
  /** What retention lets a cluster keep (the leader's settings count) and this node hold. */
  /** What is kept of one stream of one job. */
  readonly streamBytesMax: number
  readonly retention: {
    readonly runsMs: number
    readonly runsMax: number
    readonly keysMs: number
    readonly blobBytes: number
    readonly outputBytes: number
  }
  readonly preset: "lan" | "wan" | "local"
  readonly timing: Timing
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent"
  /** Absolute; absent: standard error. */
  readonly logFile?: string
}

const dayMs = 24 * 3600 * 1000

export interface LoadedConfig {
  readonly config: Config
  /** Sentences for standard error; nothing that forbids a start. */
  readonly warnings: readonly string[]
  /** Where each setting comes from: `--listen`, `TROUPE_LISTEN`, `node.yaml:3:1`, `preset lan`, `default`. */
  readonly origins: Readonly<Record<string, string>>
}

/** Throws ERR_CONFIG_INVALID with every issue of every source. `file` is --config, else TROUPE_CONFIG. */
export function loadConfig(
  input: { flags?: Flags; file?: string; env?: Environment; machine?: Machine } = {},
): LoadedConfig {
  const env = input.env ?? process.env
  const machine = input.machine ?? thisMachine()
  const flags = readFlags(input.flags ?? {})
  const variables = readEnvironment(env)
  const file = input.file ?? env["TROUPE_CONFIG"]
  const inOrder: Source[] = [flags, variables]
  if (file !== undefined && file !== "") inOrder.push(readConfigFile(file))

  const said = <Name extends FieldName>(name: Name) =>
    inOrder.find((source) => source.values[name] !== undefined)?.values[name]
  const place = (name: FieldName): Omit<Issue, "message"> =>
    inOrder.find((source) => source.values[name] !== undefined)?.place(name) ?? {
      path: flagName(name) ?? noteOf(name).env,
    }
  const config = complete(said, { env, machine })
  const issues = inOrder.flatMap((source) => source.issues)
  issues.push(...unsafe(config, said("requireAuth") === true, place), ...impossible(config, place))
  if (issues.length > 0) {
    const count = issues.length === 1 ? "a mistake" : `${issues.length} mistakes`
    throw new TroupeError("ERR_CONFIG_INVALID", `the configuration has ${count}`, { issues })
  }
  const origins = Object.fromEntries(
    fieldNames.map((name) => [name, origin(name, said(name) !== undefined, place, config.preset)]),
  )
  return freeze({ config, warnings: inOrder.flatMap((source) => source.warnings), origins })
}

function complete(
  said: <Name extends FieldName>(name: Name) => Source["values"][Name],
  given: { env: Environment; machine: Machine },
): Config {
  const { env, machine } = given
  const cluster = said("cluster") ?? "troupe"
  const data = said("data") ?? defaultData(machine, { cluster, stateHome: env["XDG_STATE_HOME"] })
  const preset = said("preset") ?? "lan"
  const timing = presets[preset]
  const logFile = said("logFile")
  const expect = said("expect")
  return {
    name: said("name") ?? defaultName(machine),
    data: resolve(machine.cwd, data),
    cluster,
    listen: said("listen") ?? { host: "127.0.0.1", port: meshPort },
    api: said("api") ?? { host: "127.0.0.1", port: apiPort },
    join: said("join") ?? [],
    ...(expect !== undefined && { expect }),
    labels: said("labels") ?? {},
    voter: said("voter") ?? "auto",
    insecure: said("insecure") ?? false,
    mdns: said("mdns") ?? true,
    capacity: said("capacity") ?? 4 * machine.cores,
    retention: {
      runsMs: (said("keepRunDays") ?? 30) * dayMs,
      runsMax: said("keepRuns") ?? 1000,
      keysMs: (said("keepKeyDays") ?? 7) * dayMs,
      blobBytes: (said("keepBlobGib") ?? 20) * 2 ** 30,
      outputBytes: (said("keepLogGib") ?? 10) * 2 ** 30,
    },
    streamBytesMax: Math.ceil((said("logMax") ?? 256) * 2 ** 20),
    preset,
    timing: {
      tickMs: said("tickMs") ?? timing.tickMs,
      heartbeatMs: said("heartbeatMs") ?? timing.heartbeatMs,
      electionMinMs: said("electionMinMs") ?? timing.electionMinMs,
    },
    logLevel: said("logLevel") ?? "info",
    ...(logFile !== undefined && { logFile: resolve(machine.cwd, logFile) }),
  }
}

/** DESIGN.md §7: without authentication a node listens on loopback only. */
function unsafe(
  config: Config,
  requireAuth: boolean,
  place: (name: FieldName) => Omit<Issue, "message">,
): Issue[] {
  const issues: Issue[] = []
  if (requireAuth) {
    const message =
      "authentication comes with a later version of troupe. Until then listen on loopback only, " +
      "or use --insecure on a network whose every user you trust"
    issues.push({ ...place("requireAuth"), message })
  }
  if (config.insecure) return issues
  for (const name of ["listen", "api"] as const) {
    if (isLoopback(config[name].host)) continue
    const message =
      `${formatAddress(config[name])} can be reached by other machines, and whoever reaches it can run programs ` +
      `here. Add --insecure on a network whose every user you trust; else stay on 127.0.0.1`
    issues.push({ ...place(name), message })
  }
  return issues
}

/** Settings that are right alone and wrong together. */
function impossible(config: Config, place: (name: FieldName) => Omit<Issue, "message">): Issue[] {
  const issues: Issue[] = []
  const { listen, api, timing } = config
  const sameHost = listen.host === api.host || isWildcard(listen.host) || isWildcard(api.host)
  if (listen.port !== 0 && listen.port === api.port && sameHost) {
    const message = `${formatAddress(api)} is taken by --listen; give --api another port`
    issues.push({ ...place("api"), message })
  }
  if (timing.heartbeatMs < 2 * timing.tickMs) {
    const message = `must be at least two ticks (${2 * timing.tickMs} ms), got ${timing.heartbeatMs}`
    issues.push({ ...place("heartbeatMs"), message })
  }
  if (timing.electionMinMs < 3 * timing.heartbeatMs) {
    const least = 3 * timing.heartbeatMs
    const message = `must be at least three heartbeats (${least} ms), got ${timing.electionMinMs}`
    issues.push({ ...place("electionMinMs"), message })
  }
  return issues
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::"
}

function origin(
  name: FieldName,
  said: boolean,
  place: (name: FieldName) => Omit<Issue, "message">,
  preset: string,
): string {
  if (!said) return name in presets.lan ? `preset ${preset}` : "default"
  const { path, file, line, column } = place(name)
  return file === undefined ? path : `${file}:${line ?? 1}:${column ?? 1}`
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}
