/** What a node says of itself: its declaration (replicated) and its facts (gossip). */
import {
  type Facts,
  knownVersions,
  type Member,
  type MemberDeclaration,
  versionsLabel,
  versionsText,
  type Vitals,
} from "../schema/index.ts"
import type { NodeContext } from "./context.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"

let sequence = 0

export function factsOf(context: NodeContext, running: number): Facts {
  const { options, parts } = context
  const { host, mesh } = parts
  const sample = host.sample()
  const { freeMemoryBytes, load1, diskFreeBytes } = sample
  const full = context.disk.look(sample)
  return {
    peerId: mesh.peerId,
    name: options.name,
    sequence: ++sequence,
    boot: context.boot(),
    version: options.version,
    os: host.os,
    arch: host.arch,
    cores: host.cores,
    memoryBytes: host.memoryBytes,
    freeMemoryBytes,
    load1,
    diskFreeBytes,
    ...(full !== undefined && { full }),
    labels: { ...options.labels },
    tools: [...host.tools()],
    running,
    capacity: options.capacity,
    api: options.apiUrl,
    vitals: vitalsOf(context),
  }
}

/** What this node measures of itself. */
export function vitalsOf(context: NodeContext): Vitals {
  const { clock, loop } = context.parts
  const { timing } = context.options
  const own = context.replica()
  const { p50Ms, p99Ms, maxMs } = loop.delay()
  const pace = own?.pace ?? { electionMs: timing.electionTicks * timing.tickMs, reason: "" }
  return {
    at: clock.now(),
    loopDelayP50Ms: p50Ms,
    loopDelayP99Ms: p99Ms,
    loopDelayMaxMs: maxMs,
    fsyncP99Ms: own?.fsyncP99Ms() ?? 0,
    electionMs: pace.electionMs,
    electionReason: pace.reason,
  }
}

export function declarationOf(options: NodeOptions, parts: Parts): MemberDeclaration {
  const { host, mesh } = parts
  return {
    peerId: mesh.peerId,
    name: options.name,
    addresses: [...mesh.addresses()],
    voter: options.voter,
    os: host.os,
    arch: host.arch,
    cores: host.cores,
    memoryBytes: host.memoryBytes,
    labels: { ...options.labels, [versionsLabel]: versionsText(options.versions ?? knownVersions) },
    tools: [...host.tools()],
    capacity: options.capacity,
  }
}

/** Whether a member's row says what the node declares. */
export function isSameDeclaration(row: Member, declaration: MemberDeclaration): boolean {
  const { id: _id, role: _role, cordon: _cordon, dead: _dead, ...declared } = row
  return JSON.stringify(sorted(declared)) === JSON.stringify(sorted(declaration))
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]))
}
