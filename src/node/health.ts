/** The leader's view of its cluster's health: what it survives, who is behind, and what to do about it. */
import type { Facts, Member, NodeHealth, NodeVitals, Vitals } from "../schema/index.ts"
import type { RaftStatus } from "../consensus/index.ts"

export interface LeaderHealth {
  readonly survives: number
  readonly copies: number
  readonly voters: { readonly total: number; readonly answering: number; readonly needed: number }
  readonly problems: readonly string[]
  readonly notes: readonly string[]
  readonly nodes: readonly NodeHealth[]
}

/** What the leader knows of one member; of itself too. */
export interface Known {
  readonly member: Member
  readonly answers: boolean
  /** Undefined: this leader has not heard it yet. */
  readonly silentMs: number | undefined
  readonly facts: Facts | undefined
  /** Its wall clock against the leader's. */
  readonly clockOffsetMs: number | undefined
  readonly roundTripP99Ms: number | undefined
  /** Tasks that run there by the rows. */
  readonly attempts?: number
}

export interface HealthInput {
  readonly self: number
  readonly status: RaftStatus
  readonly known: readonly Known[]
  /** Clusters of this name that accepted work, by id, and a node of each. */
  readonly conflicts: ReadonlyMap<string, string>
}

/** Entries that a working follower may lack at a glance. */
const behindMax = 1000
const clockOffsetMaxMs = 2000
const diskFreeMinBytes = 1 << 30
/** A loop that is kept waiting like this is worth a word. */
const loopDelayMaxMs = 250

export function assessHealth(input: HealthInput): LeaderHealth {
  const { status, known, self } = input
  const { confState, progress, commit } = status
  const answering = new Set(known.filter(({ answers }) => answers).map(({ member }) => member.id))
  const matches = new Map(progress.map(({ id, match }) => [id, match]))
  const behind = (id: number): number | undefined => {
    const match = matches.get(id)
    return match === undefined ? undefined : Math.max(0, commit - match)
  }
  const isSound = (id: number): boolean => answering.has(id) && (behind(id) ?? 0) <= behindMax
  const total = confState.voters.length
  const needed = Math.floor(total / 2) + 1
  const median = medianOf(known.flatMap(({ clockOffsetMs }) => clockOffsetMs ?? []))
  const nodes = known.map((one): NodeHealth => {
    const { member, facts, clockOffsetMs, roundTripP99Ms } = one
    const missing = behind(member.id)
    return {
      name: member.name,
      id: member.id,
      role: member.role,
      leader: member.id === self,
      state: one.answers ? "connected" : "silent",
      ...(one.silentMs !== undefined && { silentMs: Math.round(one.silentMs) }),
      ...(missing !== undefined && { behind: missing }),
      ...(facts && { version: facts.version, diskFreeBytes: facts.diskFreeBytes }),
      ...(clockOffsetMs !== undefined && { clockOffsetMs: Math.round(clockOffsetMs - median) }),
      ...measured({ roundTripP99Ms }),
      ...(member.cordon && { cordon: member.cordon }),
      ...(member.dead && { dead: member.dead }),
      ...(facts?.full !== undefined && { full: facts.full }),
      ...(one.attempts !== undefined && { attempts: one.attempts }),
      ...(facts?.vitals && { vitals: measuredVitals(facts.vitals) }),
    }
  })
  return {
    survives: Math.max(0, confState.voters.filter(isSound).length - needed),
    copies: progress.filter((peer) => peer.match >= commit && answering.has(peer.id)).length,
    voters: { total, answering: confState.voters.filter((id) => answering.has(id)).length, needed },
    problems: [...nodes.flatMap(problemsOf), ...conflictsOf(input)],
    notes: notesOf(nodes, total),
    nodes,
  }
}

/** Durations of which too few were measured to say anything are 0 where they are kept; here they are left out. */
export function measured<Name extends string>(
  durations: Readonly<Record<Name, number | undefined>>,
): Partial<Record<Name, number>> {
  const entries = Object.entries<number | undefined>(durations)
  const known = entries.filter(([, ms]) => ms !== undefined && ms > 0)
  return Object.fromEntries(known) as Partial<Record<Name, number>>
}

export function measuredVitals(vitals: Vitals): NodeVitals {
  const { loopDelayP99Ms, fsyncP99Ms, ...rest } = vitals
  return { ...rest, ...measured({ loopDelayP99Ms, fsyncP99Ms }) }
}

/** Wall clocks against the median, since the leader's own may be the one that is wrong. */
function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return 0
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function problemsOf(node: NodeHealth): readonly string[] {
  const { name, role, behind = 0, clockOffsetMs = 0, diskFreeBytes, vitals } = node
  // Somebody knows it already.
  if (node.state === "silent" && node.dead) return []
  if (node.state === "silent") {
    const since =
      node.silentMs === undefined
        ? "does not answer"
        : `is silent for ${Math.round(node.silentMs / 1000)} s`
    return [`${name} (${role}) ${since}: look at its host, or 'troupe node start' there`]
  }
  const problems: string[] = []
  if (behind > behindMax) {
    problems.push(`${name} lags ${behind} entries behind: look at its disk and its network`)
  }
  if (Math.abs(clockOffsetMs) > clockOffsetMaxMs) {
    const seconds = (Math.abs(clockOffsetMs) / 1000).toFixed(1)
    const way = clockOffsetMs > 0 ? "ahead of" : "behind"
    problems.push(`the clock of ${name} is ${seconds} s ${way} the others: set it, e.g. by NTP`)
  }
  if (node.full !== undefined) {
    problems.push(`${name} ${node.full} and takes no work: make room in its data directory`)
  } else if (diskFreeBytes !== undefined && diskFreeBytes < diskFreeMinBytes) {
    const mebibytes = Math.floor(diskFreeBytes / (1 << 20))
    problems.push(`${name} has ${mebibytes} MiB of disk left: make room in its data directory`)
  }
  const loopDelayMs = vitals?.loopDelayP99Ms ?? 0
  if (loopDelayMs > loopDelayMaxMs) {
    const ms = Math.round(loopDelayMs)
    problems.push(`${name} is kept waiting for ${ms} ms (p99): its processors are overloaded`)
  }
  return problems
}

function conflictsOf({ conflicts }: HealthInput): readonly string[] {
  return [...conflicts].map(
    ([clusterId, node]) =>
      `another cluster of this name has accepted work (${shortId(clusterId)}, node ${node}); they never merge by themselves: give one another --cluster name`,
  )
}

/** The founding's first digits, and what a recovery added. */
function shortId(clusterId: string): string {
  return `${clusterId.slice(0, 8)}${/-\d+-[0-9a-f]{8}$/.exec(clusterId)?.[0] ?? ""}`
}

/** What somebody has said of nodes. */
function wordsOf(node: NodeHealth): readonly string[] {
  const { name, cordon, dead, attempts = 0 } = node
  const words: string[] = []
  if (dead) {
    words.push(`${name} was declared dead${because(dead.reason)}: it counts again when it answers`)
  }
  if (cordon?.mode === "cordon") {
    words.push(`${name} is cordoned${because(cordon.reason)}: 'troupe cluster uncordon' ends that`)
  }
  if (cordon?.mode === "drain") {
    const left = attempts === 1 ? "1 attempt still runs" : `${attempts} attempts still run`
    const how = attempts === 0 ? "is drained" : "is being drained"
    words.push(`${name} ${how}${because(cordon.reason)}${attempts === 0 ? "" : `: ${left} there`}`)
  }
  return words
}

function because(reason: string): string {
  return reason === "" ? "" : ` (${reason})`
}

function notesOf(nodes: readonly NodeHealth[], voters: number): readonly string[] {
  const notes: string[] = nodes.flatMap(wordsOf)
  if (nodes.length === 1) notes.push("this cluster has one node: start more to survive a loss")
  if (nodes.length === 2) {
    notes.push("two nodes keep two copies, but survive no loss by themselves: add a third")
  }
  if (nodes.length >= 3 && voters < 3) notes.push("voters are being added")
  const versions = new Map<string, string[]>()
  for (const { name, version } of nodes) {
    if (version !== undefined) versions.set(version, [...(versions.get(version) ?? []), name])
  }
  if (versions.size > 1) {
    const each = [...versions].map(([version, names]) => `${version} on ${names.join(", ")}`)
    notes.push(`nodes run different versions: ${each.join("; ")}`)
  }
  return notes
}
