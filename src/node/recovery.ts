/** Making a new incarnation of a cluster from what one stopped replica holds, when its majority is lost for good. */
import { decodeConfChange, type Entry } from "../consensus/index.ts"
import { type Identity, type Member, nextIncarnation, TroupeError } from "../schema/index.ts"
import {
  apply,
  createTables,
  readCluster,
  readMembers,
  recoveryWrites,
  type Tables,
} from "../state/index.ts"
import { decodeEntry, type LogMark, type Row } from "../wire/index.ts"
import type { ReplicaStores } from "./parts.ts"
import { openTables } from "./replica-start.ts"
import type { Logger } from "../platform/index.ts"

/** Where a replica stands. Of two, the one with the greater (lastTerm, lastIndex) has everything that was accepted. */
export interface ReplicaPosition {
  readonly clusterId: string
  readonly memberId: number
  readonly term: number
  readonly lastTerm: number
  readonly lastIndex: number
  readonly commit: number
}

export interface InspectedReplica {
  readonly position: ReplicaPosition
  /** Everything in the log applied, committed or not: an entry that was accepted may not be known as such here. */
  readonly tables: Tables
  readonly members: readonly Member[]
  /** Nobody else votes, and nothing in the log changes that: started again, it leads alone. */
  readonly isOnlyVoter: boolean
}

/** The new incarnation's numbers begin this much later, so that no run id, fence or member id is given twice, not even
 *  one that only a lost node had given. */
const indexGap = 1_000_000
/** A lost leader may have ordered jobs here in terms that this log has not heard of. */
const termGap = 1000

/** Reads a stopped replica; its stores are open afterwards. Refuses what is no replica of a working log. */
export async function inspectReplica(
  identity: Identity,
  parts: ReplicaStores & { readonly logger: Logger },
): Promise<InspectedReplica> {
  const { clusterId, memberId } = identity
  const log = await parts.log.open({ clusterId, memberId })
  const mark = await openTables(parts, log.mark)
  const tables = createTables()
  for await (const [key, value] of parts.tables.rows()) {
    tables.commit([{ key, value: JSON.parse(value) as unknown }])
  }
  const last = log.entries.at(-1) ?? log.mark
  const applied = mark?.index ?? 0
  if (applied > last.index) {
    const reason = "the tables are ahead of the log: entries that were durable are gone"
    throw new TroupeError("ERR_LOG_CORRUPT", reason, { file: "raft/wal", offset: 0, reason })
  }
  const unapplied = log.entries.filter((entry) => entry.index > applied)
  for (const entry of unapplied) applyEntry(tables, entry)
  if (!readCluster(tables)) {
    const reason = "this replica has received nothing yet: recover another one"
    throw new TroupeError("ERR_CONFLICT", reason, { reason })
  }
  const position = {
    clusterId,
    memberId,
    term: log.hardState.term,
    lastTerm: last.term,
    lastIndex: last.index,
    commit: Math.max(log.hardState.commit, applied),
  }
  // Applied is committed; a change of members that is not yet applied may need others to be decided.
  const { voters = [], votersOutgoing = [] } = mark?.confState ?? {}
  const isAlone = voters.length === 1 && voters[0] === memberId && votersOutgoing.length === 0
  const isOnlyVoter = isAlone && !unapplied.some(changesVoters)
  return { position, tables, members: readMembers(tables), isOnlyVoter }
}

/** Who is only let in, or learns, has no say yet. */
function changesVoters(entry: Entry): boolean {
  if (entry.type === "EntryNormal") return false
  const { changes } = decodeConfChange(entry.data)
  return changes.length !== 1 || changes[0]!.type !== "ConfChangeAddLearnerNode"
}

function applyEntry(tables: Tables, entry: Entry): void {
  const data = entry.type === "EntryNormal" ? entry.data : decodeConfChange(entry.data).context
  if (data.length === 0) return
  const { index, term } = entry
  const { writes } = apply(tables, { index, term, ...decodeEntry(data) })
  tables.commit(writes)
}

/** Writes the new incarnation into empty stores (a directory beside the old one) and answers who this node is then. */
export async function writeIncarnation(
  identity: Identity,
  inspected: InspectedReplica,
  into: { readonly stores: ReplicaStores; readonly mark: string },
): Promise<Identity> {
  const { position, tables } = inspected
  const { memberId } = position
  const clusterId = nextIncarnation(position.clusterId, into.mark)
  const index = position.lastIndex + indexGap
  const term = Math.max(position.term, position.lastTerm) + termGap
  tables.commit(recoveryWrites(tables, { clusterId, memberId, index: position.lastIndex }))
  const confState = {
    voters: [memberId],
    learners: [],
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  }
  const mark: LogMark = { index, term, confState }
  const { log, snapshots } = into.stores
  await snapshots.create(mark, rowsOf(tables))
  await log.open({ clusterId, memberId })
  await log.append({ hardState: { term, vote: 0, commit: index }, snapshot: mark })
  await log.close()
  const redirect = { from: position.clusterId, into: clusterId, index: position.lastIndex }
  return {
    ...identity,
    clusterId,
    redirects: [...identity.redirects, redirect],
    keeperCluster: identity.keeperCluster ?? identity.clusterId,
  }
}

async function* rowsOf(tables: Tables): AsyncGenerator<Row> {
  for (const [key, value] of tables.range("")) yield [key, JSON.stringify(value)]
}
