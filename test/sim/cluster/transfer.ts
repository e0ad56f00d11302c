/** Blobs between simulated nodes: one stream a blob, peers in turn, whole or not at all. */
import type { BlobStore, ByteStream, Mesh, Transfer } from "../../../src/node/index.ts"
import { type Clock, until } from "../../../src/platform/index.ts"
import { type PeerRef, TroupeError } from "../../../src/schema/index.ts"

const protocol = "/troupe/blobs/1"
const peerMs = 5000

export function createSimTransfer(parts: {
  readonly blobs: BlobStore
  readonly mesh: Mesh
  readonly clock: Clock
}): Transfer {
  const { blobs, mesh, clock } = parts
  return {
    async fetch(digest, from, { signal }) {
      const known = await blobs.has(digest)
      if (known) return known
      for (const peer of from) {
        const limit = AbortSignal.any([signal, clock.timeoutSignal(peerMs, "a blob")])
        try {
          const bytes = await until(ask(mesh, peer, digest, limit), limit)
          return await blobs.put(once(bytes), digest)
        } catch {
          // The next one may have it.
          signal.throwIfAborted()
        }
      }
      throw new TroupeError("ERR_BLOB_NOT_FOUND", "no connected peer has it", { digest })
    },
    start() {
      mesh.onStream(protocol, async (stream) => await serve(blobs, stream))
    },
    async stop() {
      // Streams end with the mesh.
    },
  }
}

async function ask(
  mesh: Mesh,
  peer: PeerRef,
  digest: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const stream = await mesh.openStream(peer, protocol, { signal })
  await stream.write(Buffer.from(digest), { signal })
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.read) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function serve(blobs: BlobStore, stream: ByteStream): Promise<void> {
  for await (const asked of stream.read) {
    for await (const chunk of blobs.read(Buffer.from(asked).toString())) await stream.write(chunk)
    await stream.end()
    return
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}
