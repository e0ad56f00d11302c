/** Asking to be admitted: from peer to peer, along redirects, until one of them says yes. */
import type { MemberDeclaration, PeerRef } from "../schema/index.ts"
import { type JoinAnswer, joinAnswer, joinRequest } from "../wire/index.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"

export type Admission = Extract<JoinAnswer, { type: "admitted" }>
export type Removal = Extract<JoinAnswer, { type: "removed" }>

export interface JoiningParts {
  readonly parts: Pick<Parts, "mesh" | "clock" | "logger">
  readonly options: Pick<NodeOptions, "timing">
  declaration(): MemberDeclaration
  /** The member that this node was, if it lost what that member had. */
  instead(): number | undefined
}

const retryMs = 300
/** Peers that one attempt to join may be sent to. */
const peersMax = 64

/** One wish to join, asked once. */
export async function askToJoin(
  joining: JoiningParts,
  peer: PeerRef,
  signal: AbortSignal,
): Promise<JoinAnswer | undefined> {
  const { mesh, clock, logger } = joining.parts
  try {
    const limit = clock.timeoutSignal(joining.options.timing.requestMs, "a wish to join")
    const instead = joining.instead()
    const declaration = joining.declaration()
    const payload = joinRequest.encode(
      instead === undefined
        ? { type: "join", declaration }
        : { type: "rejoin", declaration, instead },
    )
    const bytes = await mesh.request(peer, "/troupe/join/1", payload, {
      signal: AbortSignal.any([signal, limit]),
    })
    const answer = joinAnswer.decode(bytes)
    if (answer.type === "refused") {
      logger.info("not admitted", { peer: peer.peerId, reason: answer.reason })
    }
    return answer
  } catch (error) {
    signal.throwIfAborted()
    logger.debug("a wish to join was not answered", { error: String(error) })
    return undefined
  }
}

/** Asks these peers and whom they redirect to, each once in a round, until one decides. A peer is never added twice, so
 *  redirects that lead in a circle end in rounds over the same few. */
export async function join(
  joining: JoiningParts,
  peers: readonly PeerRef[],
  signal: AbortSignal,
): Promise<Admission | Removal> {
  const self = joining.parts.mesh.peerId
  const queue = peers.filter(({ peerId }) => peerId !== self)
  for (;;) {
    // What is added while a round goes on is asked in the same round.
    for (const peer of queue) {
      signal.throwIfAborted()
      const answer = await askToJoin(joining, peer, signal)
      if (answer?.type === "admitted" || answer?.type === "removed") return answer
      if (answer?.type !== "redirect") continue
      const known = new Set([self, ...queue.map(({ peerId }) => peerId)])
      const more = answer.peers.filter(({ peerId }) => !known.has(peerId))
      queue.push(...more.slice(0, peersMax - queue.length))
    }
    await joining.parts.clock.sleep(retryMs, { signal })
  }
}
