/** Asking the leader: here or there, waiting for one, and again where that is safe. */
import { isTroupeError, type PeerRef, TroupeError } from "../schema/index.ts"
import { ctlAnswer, ctlRequest } from "../wire/index.ts"
import type { Changes } from "./changes.ts"
import type { CallOptions } from "./context.ts"
import { type OperationParts, operations } from "./operations.ts"
import type { Parts } from "./parts.ts"

const hopsMax = 2
const retryLeaderMs = 25
/** A read or a keyed write whose leader was lost on the way is asked again for this long. */
const lostLeaderMs = 6000
/** Operations that a second performance does not change: safe to ask again after a loss. */
const repeatable = new Set([
  "submitRun",
  "submitPlan",
  "planRun",
  "submitJob",
  "planJob",
  "retryRun",
  "explainRun",
  "listRuns",
  "getRun",
  "runRows",
  "cancelRun",
  "pinRun",
  "blobUses",
  "readEvents",
  "locateLog",
  "logSources",
  "runsKept",
  "nodes",
  "health",
  "admit",
  "readmit",
  "declare",
  "meet",
  "removeNode",
  "cordonNode",
  "declareDead",
])

/** Of a run that somebody may be submitting meanwhile. */
const changing = new Set(["cancelRun", "pinRun"])

/** A change of leader is what these are for: the old one answers when it is done. */
const outlasting = new Set(["transferLeader"])

/** Who answers: this node while it leads, else the peer that does. */
export interface LeaderSource {
  here(): OperationParts | undefined
  leaderPeer(): PeerRef | undefined
}

export class Asking {
  readonly #parts: Pick<Parts, "clock" | "mesh">
  readonly #changes: Changes
  readonly #source: LeaderSource
  readonly #holdMs: number

  constructor(input: {
    parts: Pick<Parts, "clock" | "mesh">
    changes: Changes
    source: LeaderSource
    holdMs: number
  }) {
    this.#parts = input.parts
    this.#changes = input.changes
    this.#source = input.source
    this.#holdMs = input.holdMs
  }

  /** Here when this node leads, else at the leader; waits a moment for one, and asks again where that is safe. */
  async call(op: string, body: unknown, options: CallOptions): Promise<unknown> {
    const { clock } = this.#parts
    const begun = clock.boottime()
    let lost: unknown
    for (;;) {
      options.signal.throwIfAborted()
      try {
        const here = this.#source.here()
        if (here) return await this.perform(here, op, body, options)
        const peer = this.#source.leaderPeer()
        if (peer && peer.peerId !== this.#parts.mesh.peerId && (options.hops ?? 0) < hopsMax) {
          return await this.#callLeader(peer, op, body, options)
        }
      } catch (error) {
        // An earlier try may be under way still, and find the run that this one did not.
        if (isUnknown(lost) && changing.has(op) && isNotFound(error)) throw unknownOutcome(error)
        if (!isLostLeader(error) && !isStranger(error, op)) throw error
        if (isUnknown(error) && !repeatable.has(op)) throw unknownOutcome(error)
        // Once it may have reached a leader, a later refusal does not make that undone.
        if (!isUnknown(lost)) lost = error
      }
      const limit = lost ? lostLeaderMs : this.#holdMs
      const waited = clock.boottime() - begun
      if (waited >= limit) throw isUnknown(lost) ? unknownOutcome(lost) : noLeader(waited)
      await this.#changes.next(Math.min(retryLeaderMs, limit - waited), options.signal)
    }
  }

  /** As callPeer, but given up as soon as somebody else leads: a leader behind a cut never answers. */
  async #callLeader(
    peer: PeerRef,
    op: string,
    body: unknown,
    options: CallOptions,
  ): Promise<unknown> {
    const moved = new AbortController()
    const onChange = (): void => {
      if (this.#source.leaderPeer()?.peerId === peer.peerId || outlasting.has(op)) return
      moved.abort(
        new TroupeError("ERR_UNKNOWN_OUTCOME", "the leader changed while it was asked", {
          hint: "ask again with the same key",
        }),
      )
    }
    const unwatch = this.#changes.watch(onChange)
    try {
      const signal = AbortSignal.any([options.signal, moved.signal])
      return await this.callPeer(peer, op, body, { ...options, signal })
    } finally {
      unwatch()
    }
  }

  async perform(
    parts: OperationParts,
    op: string,
    body: unknown,
    options: CallOptions,
  ): Promise<unknown> {
    const operation = operations[op]
    if (!operation) {
      throw new TroupeError("ERR_PROTOCOL", `unknown operation '${op}'`, {
        where: "ctl",
        reason: "unknown operation",
      })
    }
    return await operation(parts, body as never, options)
  }

  async callPeer(peer: PeerRef, op: string, body: unknown, options: CallOptions): Promise<unknown> {
    const payload = ctlRequest.encode({
      op,
      hops: (options.hops ?? 0) + 1,
      principal: options.principal ?? "node",
      key: options.key,
      body,
    })
    const answer = await this.#parts.mesh.request(peer, "/troupe/ctl/1", payload, {
      signal: options.signal,
    })
    return ctlAnswer.decode(answer)
  }
}

function isLostLeader(error: unknown): boolean {
  return (
    isTroupeError(error) &&
    [
      "ERR_NOT_LEADER",
      "ERR_NO_LEADER",
      "ERR_PEER_UNREACHABLE",
      "ERR_UNKNOWN_OUTCOME",
      "ERR_STOPPED",
    ].includes(error.code)
  )
}

/** The peer does not know this node as a member, any more or yet: certainly nothing happened. */
function isStranger(error: unknown, op: string): boolean {
  return isTroupeError(error) && error.code === "ERR_FORBIDDEN" && error.details.what === op
}

function isNotFound(error: unknown): boolean {
  return isTroupeError(error) && error.code === "ERR_RUN_NOT_FOUND"
}

/** The request may have reached a leader before it was lost. */
function isUnknown(error: unknown): boolean {
  return (
    isTroupeError(error) && ["ERR_PEER_UNREACHABLE", "ERR_UNKNOWN_OUTCOME"].includes(error.code)
  )
}

function unknownOutcome(cause: unknown): TroupeError<"ERR_UNKNOWN_OUTCOME"> {
  return new TroupeError(
    "ERR_UNKNOWN_OUTCOME",
    "the leader was lost while this was under way: it may or may not have happened; ask again with the same key",
    { hint: "retry with the same Idempotency-Key" },
    { cause },
  )
}

function noLeader(waitedMs: number): TroupeError<"ERR_NO_LEADER"> {
  return new TroupeError(
    "ERR_NO_LEADER",
    "no leader: most voters must be running and reachable; see 'troupe cluster health'",
    { waitedMs: Math.round(waitedMs) },
  )
}
