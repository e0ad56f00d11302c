/** `troupe cluster recover` over a real data directory: looked at first, changed only when told to. */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import {
  type InspectedReplica,
  inspectReplica,
  type ReplicaPosition,
  type ReplicaStores,
  writeIncarnation,
} from "../node/index.ts"
import type { Logger } from "../platform/index.ts"
import { type Identity, type Member, TroupeError } from "../schema/index.ts"
import {
  announceRecovery,
  createIdentityStore,
  createLocalStore,
  createLogStore,
  createSnapshotStore,
  createTableStore,
  finishRecovery,
  hasKey,
  lockDirectory,
  stageRecovery,
} from "../storage/index.ts"

export interface Recovery {
  readonly cluster: string
  readonly name: string
  readonly position: ReplicaPosition
  readonly members: readonly Member[]
  /** Nobody else votes: this node needs no recovery. */
  readonly isOnlyVoter: boolean
  /** APIs of other nodes by name, as they said when they were last heard. */
  readonly apis: Readonly<Record<string, string>>
  /** Makes the new incarnation; answers its cluster id. */
  recover(): Promise<string>
  /** Lets go of the directory. */
  close(): Promise<void>
}

/** Holds the directory until closed. ERR_STORAGE when a node runs in it; ERR_CONFLICT when it is no replica. */
export async function openRecovery(directory: string, logger: Logger): Promise<Recovery> {
  const lock = await lockDirectory(directory)
  try {
    const identityStore = createIdentityStore({ directory })
    const { identity, foreign } = await identityStore.open()
    if (!(await hasKey(directory))) {
      throw refusal(
        `the key of this node is gone (${join(directory, "identity")}): put that directory back, or recover another node`,
      )
    }
    if (foreign) {
      throw refusal("this directory was copied from another machine or place: a copy never votes")
    }
    const { inspected, name, apis } = await inspect({ directory, identity, logger })
    return {
      cluster: identity!.cluster,
      name,
      position: inspected.position,
      members: inspected.members,
      isOnlyVoter: inspected.isOnlyVoter,
      apis,
      async recover() {
        const staged = await stageRecovery(directory)
        const next = await writeIncarnation(identity!, inspected, {
          stores: storesIn(staged),
          mark: randomBytes(4).toString("hex"),
        })
        await announceRecovery(directory, { old: identity!.clusterId, identity: next })
        await finishRecovery(directory, identityStore)
        return next.clusterId
      },
      close: () => lock.unlock(),
    }
  } catch (error) {
    await lock.unlock()
    throw error
  }
}

/** Where the replica of a directory stands, a copied one's too; nothing is changed. */
export async function readPosition(
  directory: string,
  logger: Logger,
): Promise<{ readonly name: string; readonly position: ReplicaPosition }> {
  const lock = await lockDirectory(directory)
  try {
    const { identity } = await createIdentityStore({ directory }).open()
    const { inspected, name } = await inspect({ directory, identity, logger })
    return { name, position: inspected.position }
  } finally {
    await lock.unlock()
  }
}

function storesIn(directory: string): ReplicaStores {
  return {
    log: createLogStore({ directory }),
    tables: createTableStore({ directory }),
    snapshots: createSnapshotStore({ directory }),
  }
}

async function inspect(what: {
  readonly directory: string
  readonly identity: Identity | undefined
  readonly logger: Logger
}): Promise<{ inspected: InspectedReplica; name: string; apis: Readonly<Record<string, string>> }> {
  const { directory, identity, logger } = what
  const { replicaOf, apis } = await readLocal(directory)
  if (!identity || identity.memberId === 0 || replicaOf === undefined) {
    throw refusal(`there is no copy of a cluster's log in ${directory}: use a node that has one`)
  }
  const stores = storesIn(directory)
  try {
    const inspected = await inspectReplica(identity, { ...stores, logger })
    const self = inspected.members.find(({ id }) => id === identity.memberId)
    if (!self) throw refusal("this node is no member of its cluster any more")
    return { inspected, name: self.name, apis }
  } finally {
    await stores.log.close()
    await stores.tables.close()
  }
}

async function readLocal(
  directory: string,
): Promise<{ replicaOf: string | undefined; apis: Readonly<Record<string, string>> }> {
  const local = createLocalStore({ directory })
  await local.open()
  try {
    const replicaOf = (await local.get("replica")) as string | undefined
    const apis = ((await local.get("apis")) ?? {}) as Record<string, string>
    return { replicaOf, apis }
  } finally {
    await local.close()
  }
}

function refusal(reason: string): TroupeError<"ERR_CONFLICT"> {
  return new TroupeError("ERR_CONFLICT", reason, { reason })
}
