/** Second copies of blobs: another connected member is asked to fetch them from here. */
import type { PeerRef } from "../schema/index.ts"
import type { NodeContext } from "./context.ts"

const blobsPerRequest = 500

/** Asks connected members in turn until one holds them all; answers the members that now do (none: we are alone). */
export async function replicateBlobs(
  context: NodeContext,
  digests: readonly string[],
  signal: AbortSignal,
): Promise<readonly number[]> {
  const self = context.identity()?.memberId
  const connected = new Set(context.parts.mesh.connectedPeers())
  for (const member of context.members()) {
    if (member.id === self || !connected.has(member.peerId)) continue
    try {
      await holdAt(context, member, digests, signal)
      return [member.id]
    } catch (error) {
      signal.throwIfAborted()
      context.parts.logger.info("a member could not take copies", {
        member: member.name,
        error: String(error),
      })
    }
  }
  return []
}

async function holdAt(
  context: NodeContext,
  member: PeerRef,
  digests: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const from = { peerId: context.parts.mesh.peerId, addresses: [...context.parts.mesh.addresses()] }
  for (let at = 0; at < digests.length; at += blobsPerRequest) {
    const part = digests.slice(at, at + blobsPerRequest)
    await context.callPeer(member, "holdBlobs", { digests: part, from }, { signal })
  }
}
