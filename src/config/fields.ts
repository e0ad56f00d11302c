/** Every setting of a node, once: its check, its flag, its environment variable, its words. */
import * as z from "zod"
import { parseAddress, parsePeerAddress } from "./address.ts"

/** What a setting looks like outside the file. */
export interface FieldNote {
  /** Commander's notation; absent: file and environment only. */
  readonly flag?: string
  readonly env: string
  /** How text of a flag or variable becomes a value: `list` splits at commas, `pairs` reads `k=v`. */
  readonly text: "text" | "number" | "boolean" | "list" | "pairs"
  /** Completes "must be …". */
  readonly rule: string
  readonly help: string
  /** Completes "default: …" where the default is not a plain value. */
  readonly fallback?: string
}

export const meshPort = 8771
export const apiPort = 8770

/** Flags, variables and help of the fields of NodeConfig. */
const fieldNotes = z.registry<FieldNote>()

const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/
const labelPattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/
const nameRule = "1 to 64 letters, digits, dots, dashes and underscores"
const addressRule = (port: number) =>
  `an IP address with an optional port, like 127.0.0.1:${port} or [::1]:${port}`

function listenAddress(defaultPort: number) {
  return z.string().transform((text, context) => {
    const address = parseAddress(text, defaultPort)
    if (address) return address
    context.addIssue({ code: "custom", message: "not an address" })
    return z.NEVER
  })
}

const peerAddress = z.string().transform((text, context) => {
  const address = parsePeerAddress(text, meshPort)
  if (address !== undefined) return address
  context.addIssue({ code: "custom", message: "not an address" })
  return z.NEVER
})

const labelValue = z
  .union([z.string(), z.number(), z.boolean()])
  .transform(String)
  .pipe(z.string().max(256))

/** What one source (file, environment or flags) may say. Unknown keys are errors. */
export const NodeConfig = z.strictObject({
  name: z.string().regex(namePattern).optional().register(fieldNotes, {
    flag: "--name <name>",
    env: "TROUPE_NAME",
    text: "text",
    rule: nameRule,
    help: "what this node is called",
    fallback: "the host name",
  }),
  data: z.string().min(1).optional().register(fieldNotes, {
    flag: "--data <dir>",
    env: "TROUPE_DATA",
    text: "text",
    rule: "a directory",
    help: "directory of everything this node keeps",
    fallback: "below $XDG_STATE_HOME/troupe, by cluster name",
  }),
  cluster: z.string().regex(namePattern).optional().register(fieldNotes, {
    flag: "--cluster <name>",
    env: "TROUPE_CLUSTER",
    text: "text",
    rule: nameRule,
    help: "nodes of the same cluster name find each other",
    fallback: "troupe",
  }),
  listen: listenAddress(meshPort)
    .optional()
    .register(fieldNotes, {
      flag: "--listen <addr[:port]>",
      env: "TROUPE_LISTEN",
      text: "text",
      rule: addressRule(meshPort),
      help: "where other nodes reach this one",
      fallback: `127.0.0.1:${meshPort}`,
    }),
  api: listenAddress(apiPort)
    .optional()
    .register(fieldNotes, {
      flag: "--api <addr[:port]>",
      // TROUPE_API says where the command line sends its requests; one variable, one meaning.
      env: "TROUPE_API_LISTEN",
      text: "text",
      rule: addressRule(apiPort),
      help: "where this node answers REST",
      fallback: `127.0.0.1:${apiPort}`,
    }),
  join: z
    .array(peerAddress)
    .max(64)
    .optional()
    .register(fieldNotes, {
      flag: "--join <addr...>",
      env: "TROUPE_JOIN",
      text: "list",
      rule: `addresses like 10.0.0.5, lab-2:${meshPort} or /ip4/10.0.0.5/tcp/${meshPort}`,
      help: "nodes to ask, where multicast does not reach",
      fallback: "none",
    }),
  expect: z.int().min(1).max(256).optional().register(fieldNotes, {
    flag: "--expect <nodes>",
    env: "TROUPE_EXPECT",
    text: "number",
    rule: "a whole number from 1 to 256",
    help: "found a cluster only when so many new nodes have found each other",
    fallback: "found one alone",
  }),
  labels: z
    .record(z.string().regex(labelPattern), labelValue)
    .refine((labels) => Object.keys(labels).length <= 64)
    .optional()
    .register(fieldNotes, {
      flag: "--label <key=value...>",
      env: "TROUPE_LABELS",
      text: "pairs",
      rule: "key=value pairs; a key is 1 to 63 letters, digits and ._/-",
      help: "what manifests may ask of this node",
      fallback: "none",
    }),
  voter: z.enum(["auto", "never"]).optional().register(fieldNotes, {
    flag: "--voter <auto|never>",
    env: "TROUPE_VOTER",
    text: "text",
    rule: "auto or never",
    help: "may this node vote for leaders",
    fallback: "auto",
  }),
  insecure: z.boolean().optional().register(fieldNotes, {
    flag: "--insecure",
    env: "TROUPE_INSECURE",
    text: "boolean",
    rule: "true or false",
    help: "listen beyond loopback without authentication",
  }),
  requireAuth: z.boolean().optional().register(fieldNotes, {
    flag: "--require-auth",
    env: "TROUPE_REQUIRE_AUTH",
    text: "boolean",
    rule: "true or false",
    help: "comes with a later version",
  }),
  mdns: z.boolean().optional().register(fieldNotes, {
    flag: "--no-mdns",
    env: "TROUPE_MDNS",
    text: "boolean",
    rule: "true or false",
    help: "do not look for nodes by multicast",
  }),
  capacity: z.int().min(1).max(100_000).optional().register(fieldNotes, {
    flag: "--capacity <jobs>",
    env: "TROUPE_CAPACITY",
    text: "number",
    rule: "a whole number from 1 to 100000",
    help: "most jobs at once",
    fallback: "4 for each core",
  }),
  keepRuns: z.int().min(1).max(1_000_000).optional().register(fieldNotes, {
    env: "TROUPE_KEEP_RUNS",
    text: "number",
    rule: "a whole number from 1 to 1000000",
    help: "most finished runs that are kept, beside pinned ones",
    fallback: "1000",
  }),
  keepRunDays: z.number().positive().max(36_500).optional().register(fieldNotes, {
    env: "TROUPE_KEEP_RUN_DAYS",
    text: "number",
    rule: "a number of days above 0",
    help: "how long finished runs are kept",
    fallback: "30",
  }),
  keepKeyDays: z.number().positive().max(36_500).optional().register(fieldNotes, {
    env: "TROUPE_KEEP_KEY_DAYS",
    text: "number",
    rule: "a number of days above 0",
    help: "how long idempotency keys are remembered",
    fallback: "7",
  }),
  logMax: z.number().positive().max(1_000_000).optional().register(fieldNotes, {
    flag: "--log-max <MiB>",
    env: "TROUPE_LOG_MAX",
    text: "number",
    rule: "a number of MiB above 0",
    help: "most that is kept of one stream of one job; the rest is dropped, and said",
    fallback: "256",
  }),
  keepLogGib: z.number().positive().max(1_000_000).optional().register(fieldNotes, {
    env: "TROUPE_KEEP_LOG_GIB",
    text: "number",
    rule: "a number of GiB above 0",
    help: "above this, output of the runs that ended first is removed from this node",
    fallback: "10",
  }),
  keepBlobGib: z.number().positive().max(1_000_000).optional().register(fieldNotes, {
    env: "TROUPE_KEEP_BLOB_GIB",
    text: "number",
    rule: "a number of GiB above 0",
    help: "above this, blobs of runs that are gone are removed from this node",
    fallback: "20",
  }),
  preset: z.enum(["lan", "wan", "local"]).optional().register(fieldNotes, {
    flag: "--preset <lan|wan|local>",
    env: "TROUPE_PRESET",
    text: "text",
    rule: "lan, wan or local",
    help: "timing for the network between the nodes",
    fallback: "lan",
  }),
  logLevel: z.enum(["debug", "info", "warn", "error", "silent"]).optional().register(fieldNotes, {
    flag: "--log-level <level>",
    env: "TROUPE_LOG_LEVEL",
    text: "text",
    rule: "debug, info, warn, error or silent",
    help: "least level that is logged",
    fallback: "info",
  }),
  logFile: z.string().min(1).optional().register(fieldNotes, {
    flag: "--log-file <file>",
    env: "TROUPE_LOG_FILE",
    text: "text",
    rule: "a file",
    help: "where the log goes",
    fallback: "standard error",
  }),
  tickMs: z.int().min(1).max(1000).optional().register(fieldNotes, {
    env: "TROUPE_TICK_MS",
    text: "number",
    rule: "a whole number of milliseconds from 1 to 1000",
    help: "consensus clock",
  }),
  heartbeatMs: z.int().min(5).max(10_000).optional().register(fieldNotes, {
    env: "TROUPE_HEARTBEAT_MS",
    text: "number",
    rule: "a whole number of milliseconds from 5 to 10000",
    help: "how often a leader is heard",
  }),
  electionMinMs: z.int().min(50).max(60_000).optional().register(fieldNotes, {
    env: "TROUPE_ELECTION_MIN_MS",
    text: "number",
    rule: "a whole number of milliseconds from 50 to 60000",
    help: "a follower asks for votes after this to twice this without a leader",
  }),
})
/** A checked source. */
export type NodeConfig = z.output<typeof NodeConfig>
export type FieldName = keyof NodeConfig

export const fieldNames = Object.keys(NodeConfig.shape) as readonly FieldName[]

export function noteOf(name: FieldName): FieldNote {
  const note = fieldNotes.get(NodeConfig.shape[name])
  if (!note) throw new Error(`the setting ${name} has no note`)
  return note
}

/** `--listen <addr[:port]>` → `--listen`. */
export function flagName(name: FieldName): string | undefined {
  return noteOf(name).flag?.split(" ")[0]
}
