/** The pieces of one replica and who tells whom: core, log, tables, outbox, gate, clock, and its end. */
import type { MemoryStorage, Message, Raft } from "../consensus/index.ts"
import type { PeerRef } from "../schema/index.ts"
import { activeVersion, readMember, readSession } from "../state/index.ts"
import { UnknownVersionError } from "../wire/index.ts"
import { bootTag } from "./boots.ts"
import { ReplicaEnd } from "./replica-end.ts"
import { Gate } from "./replica-gate.ts"
import { Leading } from "./replica-leading.ts"
import { LogDriver } from "./replica-log.ts"
import type { ReplicaEvents, ReplicaOptions, ReplicaParts } from "./replica-options.ts"
import { createOutbox, type Outbox } from "./replica-outbox.ts"
import { ReplicaPace } from "./replica-pace.ts"
import { Proposals } from "./replica-proposals.ts"
import { Pump } from "./replica-pump.ts"
import type { openCore } from "./replica-start.ts"
import { Strain } from "./replica-strain.ts"
import { ReplicaTables } from "./replica-tables.ts"
import { Waiters } from "./replica-waiters.ts"
import { RoundTrips } from "./round-trips.ts"
import { Tally } from "./tally.ts"

/** Version of entries since which frames name the start of their sender. */
const bootsSince = 2

export interface Made {
  readonly options: ReplicaOptions
  readonly parts: ReplicaParts
  readonly events: ReplicaEvents
  readonly core: Awaited<ReturnType<typeof openCore>>
}

/** What the replica itself does. */
export interface Hooks {
  /** Takes out of the core what it has; true: there is more, for another turn. */
  work(): boolean
  deliver(response: Message): void
  notLeader(): Error
  handOver(): void
  renewSnapshot(index: number): void
}

export interface Pieces {
  readonly options: ReplicaOptions
  readonly parts: ReplicaParts
  readonly raft: Raft
  readonly memory: MemoryStorage
  readonly proposals: Proposals
  readonly waiters: Waiters
  readonly tally: Tally
  readonly roundTrips: RoundTrips
  readonly leading: Leading
  readonly end: ReplicaEnd
  readonly pump: Pump
  readonly gate: Gate
  readonly tables: ReplicaTables
  readonly log: LogDriver
  readonly send: Outbox
  readonly strain: Strain
  readonly pace: ReplicaPace
}

/** Undefined also of a member whose node is another member now. */
export function peerOf({ tables, options }: Pieces, id: number): PeerRef | undefined {
  const peer = readMember(tables.view, id) ?? options.roster(id)
  return peer?.peerId === "" ? undefined : peer
}

/** Whatever waits is told why it waits in vain. */
export function failAll({ proposals, waiters }: Pieces, error: Error): void {
  proposals.fail(error)
  waiters.fail(error)
}

/** Nothing runs yet: the pieces know each other only once all are here. */
export function assemble(made: Made, hooks: Hooks): Pieces {
  const { options, parts, events, core } = made
  const { clock } = parts
  // Filled below: what one piece tells another one is told later.
  const pieces = {
    options,
    parts,
    raft: core.raft,
    memory: core.memory,
    proposals: new Proposals(),
    waiters: new Waiters(),
    tally: new Tally(),
    roundTrips: new RoundTrips({
      electionMs: options.timing.electionTicks * options.timing.tickMs,
    }),
  } as { -readonly [K in keyof Pieces]: Pieces[K] }
  pieces.leading = new Leading({ events, lost: (error) => failAll(pieces, error) })
  pieces.end = endOf(made, pieces)
  pieces.pump = new Pump({
    clock,
    isOver: () => pieces.end.isOver,
    fatal: (exitCode, error) => pieces.end.fatal(exitCode, error),
    work: () => hooks.work(),
  })
  pieces.gate = gateOf(made, pieces)
  pieces.tables = tablesOf(made, pieces, hooks)
  pieces.log = logOf(made, pieces, hooks)
  pieces.send = outboxOf(made, pieces, hooks)
  pieces.strain = new Strain({
    clock,
    logger: parts.logger,
    loop: parts.loop,
    log: pieces.log,
    tally: pieces.tally,
    roundTrips: pieces.roundTrips,
    writeP99Ms: () => parts.log.stats().fsyncP99Ms,
    nameOf: (id) => readMember(pieces.tables.view, id)?.name ?? String(id),
    stalled: () => hooks.handOver(),
  })
  pieces.pace = paceOf(made, pieces)
  return pieces
}

function endOf({ parts, events }: Made, pieces: Pieces): ReplicaEnd {
  return new ReplicaEnd({
    parts,
    halt() {
      pieces.pace.stop()
      pieces.tables.close()
      pieces.leading.end()
    },
    async settled() {
      await pieces.log.settled()
      await pieces.tables.settled()
    },
    applied: () => pieces.tables.applied.index,
    lost: (reason) => events.lost(reason),
  })
}

function gateOf({ options, parts, events }: Made, pieces: Pieces): Gate {
  const { clusterId, memberId } = options
  return new Gate({
    clusterId,
    memberId,
    clock: parts.clock,
    logger: parts.logger,
    peerOf: (id) => peerOf(pieces, id),
    sessionBoot: (id) => readSession(pieces.tables.view, id)?.boot,
    position: () => ({
      ...pieces.raft.position(),
      isLeading: pieces.leading.leader === memberId,
    }),
    outdated: (peer, outdated) => events.outdated(peer, outdated),
    lose: (reason) => pieces.end.lose(reason),
  })
}

function failed(pieces: Pieces, error: Error): void {
  pieces.end.fatal(error instanceof UnknownVersionError ? 76 : 74, error)
}

function tablesOf(made: Made, pieces: Pieces, hooks: Hooks): ReplicaTables {
  const { options, parts, events, core } = made
  return new ReplicaTables({
    stores: parts,
    memory: core.memory,
    start: core.applied,
    limits: options.logLimits,
    versions: options.versions,
    clock: parts.clock,
    later: (run) => void parts.clock.after(0, run),
    diverged: (error) => void pieces.end.quarantine(error),
    confirmed: (index) => void pieces.end.confirmed(index),
    change: (change) => core.raft.applyConfChange(change),
    applied(entry, applied) {
      pieces.proposals.settle(entry, applied.results, () => hooks.notLeader())
      events.applied(entry.index, applied)
    },
    failed: (error) => failed(pieces, error),
  })
}

function logOf({ parts, events, core }: Made, pieces: Pieces, hooks: Hooks): LogDriver {
  return new LogDriver({
    log: parts.log,
    memory: core.memory,
    clock: parts.clock,
    ticks: () => pieces.pace.ticks,
    stallTicks: () => pieces.pace.electionTicks,
    appended: (now, ms) => pieces.tally.appended(now, ms),
    async install(meta) {
      await pieces.tables.install(meta)
      events.reset()
    },
    input: (work) => pieces.pump.input(work),
    deliver: (response) => hooks.deliver(response),
    failed: (error) => failed(pieces, error),
  })
}

function outboxOf({ options, parts }: Made, pieces: Pieces, hooks: Hooks): Outbox {
  const { raft, pump, roundTrips, tally } = pieces
  const boot = bootTag(options.boot)
  return createOutbox({
    parts,
    clusterId: options.clusterId,
    memberId: options.memberId,
    boot: () => (activeVersion(pieces.tables.view) >= bootsSince ? boot : 0),
    peerOf: (id) => peerOf(pieces, id),
    unreachable: (id) => pump.input(() => raft.reportUnreachable(id)),
    snapshotSent(id, index, delivery) {
      const ok = delivery === "delivered"
      tally.shipped(ok)
      if (delivery === "unreadable") hooks.renewSnapshot(index)
      pump.input(() => raft.reportSnapshot(id, ok))
    },
    isMuted: () => pieces.log.isStalled(),
    sentHeartbeat: (id) => roundTrips.sent(id, parts.clock.boottime()),
  })
}

function paceOf({ options, parts, events }: Made, pieces: Pieces): ReplicaPace {
  const { clock, logger } = parts
  return new ReplicaPace({
    clock,
    logger,
    timing: options.timing,
    raft: pieces.raft,
    isDiskStalled: () => pieces.strain.isDiskStalled(),
    needs: (now) => pieces.strain.needs(now),
    input: (work) => pieces.pump.input(work),
    woke(gapMs) {
      logger.warn("this process stood still", { gapMs: Math.round(gapMs) })
      pieces.roundTrips.interrupted()
      pieces.waiters.failReads()
      events.woke(gapMs)
    },
  })
}
