/** One replica over simulated stores whose log can be held, and what it sends. */
import type { ConfState, Message } from "../../../src/consensus/index.ts"
import type { Mesh, Parts, TableStore } from "../../../src/node/index.ts"
import { Replica } from "../../../src/node/replica.ts"
import type { ReplicaEvents, ReplicaOptions } from "../../../src/node/replica-options.ts"
import { timingFrom } from "../../../src/node/index.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import type { PeerRef } from "../../../src/schema/index.ts"
import type { Command } from "../../../src/state/index.ts"
import { decodeFrame, encodeFrame } from "../../../src/wire/index.ts"
import { FakeNetwork } from "../../support/fake-mesh.ts"
import { FakeKeeper } from "../../support/fake-keeper.ts"
import { createFakeStorage, FakeDisk } from "../../support/fake-storage.ts"
import { aDeclaration } from "../../support/plans.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

export const clusterId = "cluster-of-the-test"

const timing = timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 })

export const founding: Command = {
  type: "genesis",
  items: [{ cluster: "test", clusterId, founder: aDeclaration({ name: "n1", peerId: "peer-1" }) }],
}

/** A gate that appends wait at. */
class Gate {
  #open: PromiseWithResolvers<void> | undefined
  error: Error | undefined
  waiting = 0

  shut(): void {
    this.#open ??= Promise.withResolvers<void>()
  }

  open(): void {
    this.#open?.resolve()
    this.#open = undefined
  }

  async pass(): Promise<void> {
    this.waiting++
    while (this.#open) await this.#open.promise
    this.waiting--
    if (this.error) throw this.error
  }
}

export interface OneReplica {
  readonly replica: Replica
  readonly clock: VirtualClock
  readonly gate: Gate
  readonly disk: FakeDisk
  /** Every message that left, oldest first. */
  readonly sent: Message[]
  readonly fatal: { code: number; error: Error }[]
  readonly tables: TableStore
  /** As from that member. */
  hear(message: Message): void
}

export interface Start {
  readonly memberId: number
  /** The configuration of its tables before it opens; the log then begins at index 1. */
  readonly confState?: ConfState
  readonly genesis?: Command
  readonly disk?: FakeDisk
  readonly events?: Partial<ReplicaEvents>
  readonly clock?: VirtualClock
  readonly boot?: string
}

export function voters(...ids: number[]): ConfState {
  return { voters: ids, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
}

export async function openReplica(start: Start): Promise<OneReplica> {
  const clock = start.clock ?? new VirtualClock()
  const random = new SeededRandom(7)
  const disk = start.disk ?? new FakeDisk({ clock, random: random.fork(), syncMs: () => 1 })
  if (start.confState) await clock.drive(prepare(disk, start.memberId, start.confState))
  const gate = new Gate()
  const sent: Message[] = []
  const fatal: { code: number; error: Error }[] = []
  const stores = createFakeStorage(disk)
  const log = {
    open: stores.log.open.bind(stores.log),
    compact: stores.log.compact.bind(stores.log),
    stats: stores.log.stats.bind(stores.log),
    close: stores.log.close.bind(stores.log),
    append: async (batch: Parameters<typeof stores.log.append>[0]): Promise<void> => {
      await gate.pass()
      await stores.log.append(batch)
    },
  }
  const net = new FakeNetwork({ clock, random: random.fork() })
  const mesh = recording(net.createMesh({ peerId: `peer-${start.memberId}`, address: "/x" }), sent)
  const keeper = new FakeKeeper({ clock, script: () => ({}) }).client()
  const parts: Parts = {
    clock,
    random,
    logger: silentLogger,
    stores: () => ({ ...stores, log }),
    local: stores.local,
    identity: stores.identity,
    blobs: stores.blobs,
    mesh,
    transfer: {
      fetch: async () => await Promise.reject(new Error("no transfer here")),
      start() {},
      stop: async () => undefined,
    },
    keeper,
    bundles: {
      describe: async () => [],
      analyze: async () => new Uint8Array(),
      diff: async () => new Uint8Array(),
      seal: async () => await Promise.reject(new Error("no bundles here")),
    },
    host: {
      hostname: "test",
      os: "linux",
      arch: "x64",
      cores: 1,
      memoryBytes: 1,
      tools: () => [],
      lookFor: () => undefined,
      sample: () => ({ freeMemoryBytes: 1, load1: 0, diskFreeBytes: 1, diskTotalBytes: 1 }),
    },
    loop: {
      delay: () => ({ p50Ms: 0, p99Ms: 0, maxMs: 0, worstMs: 0 }),
      during: (_what, work) => work(),
    },
    blobFile: (digest) => digest,
    fatal: (code, error) => {
      fatal.push({ code, error })
    },
  }
  const options: ReplicaOptions = {
    clusterId,
    memberId: start.memberId,
    timing,
    roster: (id) => peer(id),
    boot: start.boot ?? "1-00000",
    ...(start.genesis && { genesis: start.genesis }),
  }
  const events: ReplicaEvents = {
    applied: () => undefined,
    leading: () => undefined,
    leaderChanged: () => undefined,
    reset: () => undefined,
    outdated: () => undefined,
    lost: () => undefined,
    woke: () => undefined,
    ...start.events,
  }
  const opening = Replica.open(options, { ...parts, ...parts.stores() }, events)
  const replica = await clock.drive(opening)
  return {
    replica,
    clock,
    gate,
    disk,
    sent,
    fatal,
    tables: stores.tables,
    hear(message) {
      const { to, from } = message
      const frame = encodeFrame({ version: 1, clusterId, incarnation: 0, to, from, message })
      replica.handleFrame(`peer-${from}`, frame)
    },
  }
}

function peer(id: number): PeerRef {
  return { peerId: `peer-${id}`, addresses: [] }
}

/** Only frames are sent by a replica itself. */
function recording(mesh: Mesh, sent: Message[]): Mesh {
  mesh.sendFrame = (_to, frame) => {
    sent.push(decodeFrame(frame).message)
    return true
  }
  return mesh
}

/** A member as a snapshot at index 1 would have made it. */
async function prepare(disk: FakeDisk, memberId: number, confState: ConfState): Promise<void> {
  const { log, tables } = createFakeStorage(disk)
  const mark = { index: 1, term: 1, confState }
  await log.open({ clusterId, memberId })
  await log.append({ hardState: { term: 1, vote: 0, commit: 1 }, snapshot: mark })
  await log.close()
  await tables.open()
  await tables.replace(noRows(), mark)
  await tables.close()
}

async function* noRows(): AsyncGenerator<never> {
  // A cluster that has nothing yet.
}
