/** Nodes as the cluster sees them: identity and role (replicated), facts (gossip, never authoritative). */
import * as z from "zod"
import { parseVersions, VersionRange, versionsLabel, versionsText } from "./versions.ts"

/** What a node measures of itself, ms, and how patient that makes it with its leader. */
export const Vitals = z.strictObject({
  /** Its wall clock when it said this. */
  at: z.number(),
  loopDelayP50Ms: z.number(),
  loopDelayP99Ms: z.number(),
  loopDelayMaxMs: z.number(),
  fsyncP99Ms: z.number(),
  electionMs: z.number(),
  /** Why that is longer than configured; empty when it is not. */
  electionReason: z.string(),
})
export type Vitals = z.infer<typeof Vitals>

/** What a node says of itself by gossip. */
export const Facts = z.strictObject({
  peerId: z.string(),
  name: z.string(),
  /** Strictly increasing per boot: later facts replace earlier ones of the same boot. */
  sequence: z.int(),
  boot: z.string(),
  version: z.string(),
  os: z.string(),
  arch: z.string(),
  cores: z.int(),
  memoryBytes: z.number(),
  freeMemoryBytes: z.number(),
  load1: z.number(),
  labels: z.record(z.string(), z.string()),
  tools: z.array(z.string()),
  /** Attempts running now, and the most it takes at once. */
  running: z.int(),
  capacity: z.int(),
  diskFreeBytes: z.number(),
  /** Base URL of this node's REST API as others can reach it; empty when it is on loopback only. */
  api: z.string(),
  /** One clause: why it takes no work now; absent: it does. */
  full: z.string().optional(),
  /** Absent: an older build. */
  vitals: Vitals.optional(),
})
export type Facts = z.infer<typeof Facts>

export const MemberRole = z.enum(["voter", "standby", "worker"])
export type MemberRole = z.infer<typeof MemberRole>

/** Nothing new is placed on the node. drain: what runs there is to end or to move elsewhere. */
export const Cordon = z.strictObject({
  mode: z.enum(["cordon", "drain"]),
  reason: z.string(),
  /** State time, ms. */
  at: z.number(),
  /** Of a drain: when what still runs there is stopped; absent: never. */
  deadlineAt: z.number().optional(),
})
export type Cordon = z.infer<typeof Cordon>

/** A member row of the replicated state. */
export const Member = z.strictObject({
  /** Log index of the entry that admitted it; 1 for the founder. Never reused. */
  id: z.int(),
  peerId: z.string(),
  name: z.string(),
  /** Multiaddrs without the peer id, e.g. `/ip4/10.77.0.2/tcp/8771`. */
  addresses: z.array(z.string()),
  role: MemberRole,
  /** `never`: not to become a voter. */
  voter: z.enum(["auto", "never"]),
  /** Static facts of its last hello; the scheduler's needs are checked against these. */
  os: z.string(),
  arch: z.string(),
  cores: z.int(),
  memoryBytes: z.number(),
  labels: z.record(z.string(), z.string()),
  tools: z.array(z.string()),
  capacity: z.int(),
  /** From state version 2 on; before, a label says it. */
  versions: VersionRange.optional(),
  // ---- what follows is from version 3 on
  cordon: Cordon.optional(),
  /** Declared dead by hand, until it answers again. */
  dead: z.strictObject({ at: z.number(), reason: z.string() }).optional(),
})
export type Member = z.infer<typeof Member>

/** The part of a member that the node itself declares and may change. */
export type MemberDeclaration = Omit<Member, "id" | "role" | "versions" | "cordon" | "dead">

/** What a member's build understands, in whichever way its row says it. */
export function versionsOf(member: Pick<Member, "labels" | "versions">): VersionRange {
  return member.versions ?? parseVersions(member.labels[versionsLabel])
}

/** A member as it declared itself: what its row holds, in the form that travels. */
export function declarationFrom(member: Member): MemberDeclaration {
  const { id: _id, role: _role, cordon: _cordon, dead: _dead, versions, ...declared } = member
  if (versions === undefined) return declared
  return { ...declared, labels: { ...declared.labels, [versionsLabel]: versionsText(versions) } }
}

/** How to reach a node. */
export interface PeerRef {
  readonly peerId: string
  /** Multiaddrs without peer id; may be empty when a connection exists. */
  readonly addresses: readonly string[]
}

/** Where a cluster went: another took it in (`Dissolve`), or it was recovered by hand. */
export const Redirect = z.strictObject({
  from: z.string(),
  into: z.string(),
  /** Of a recovery: the last index that the new incarnation has taken over. */
  index: z.int().optional(),
})
export type Redirect = z.infer<typeof Redirect>

/** node.json: which cluster and member a data directory is. */
export const Identity = z.strictObject({
  format: z.literal(1),
  peerId: z.string(),
  clusterId: z.string(),
  cluster: z.string(),
  memberId: z.int(),
  /** Clusters that this node left, and for what: a durable redirect for late members. */
  redirects: z.array(Redirect),
  /** After a recovery: the id under which this node's keeper knows the cluster, so that its jobs are found again. */
  keeperCluster: z.string().optional(),
})
export type Identity = z.infer<typeof Identity>
