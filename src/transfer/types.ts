/** What transfer does, and the parts it needs. By shape as in node/parts.ts. */
import type { Clock, Logger } from "../platform/index.ts"
import type { PeerRef } from "../schema/index.ts"

export const blobProtocol = "/troupe/blobs/1"

/** Bytes both ways with backpressure; reading throws when the stream broke before its end. */
export interface BlobStream {
  readonly peerId: string
  read: AsyncIterable<Uint8Array>
  write(chunk: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  end(): Promise<void>
  abort(reason: Error): void
}

export interface BlobMesh {
  openStream(
    peer: PeerRef,
    protocol: typeof blobProtocol,
    options: { signal: AbortSignal },
  ): Promise<BlobStream>
  onStream(protocol: typeof blobProtocol, handler: (stream: BlobStream) => Promise<void>): void
}

export interface LocalBlobs {
  has(digest: string): Promise<{ bytes: number } | undefined>
  /** ERR_BLOB_CORRUPT when what came is not `expect`. */
  put(
    source: AsyncIterable<Uint8Array>,
    expect?: string,
  ): Promise<{ digest: string; bytes: number }>
  read(digest: string, range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>
}

export interface TransferOptions {
  /** Where blobs that came halfway wait to be continued; made when it is missing. */
  readonly directory: string
}

export interface TransferParts {
  readonly blobs: LocalBlobs
  readonly mesh: BlobMesh
  readonly clock: Clock
  readonly logger: Logger
}

export interface Transfer {
  /** From any of these peers, in turn, to the local store, verified. Concurrent fetches of a digest share one.
   *  ERR_BLOB_NOT_FOUND: every peer answered that it has none; ERR_PEER_UNREACHABLE: some did not answer. */
  fetch(
    digest: string,
    from: readonly PeerRef[],
    options: { signal: AbortSignal },
  ): Promise<{ bytes: number }>
  start(): void
  /** Ends what is under way; half of a large blob stays for the next fetch. */
  stop(): Promise<void>
}

export const transferLimits = {
  /** Blobs fetched at a time, and how many more may wait. */
  fetchesMax: 4,
  fetchesWaitingMax: 1024,
  servesPerPeerMax: 4,
  servesMax: 16,
  /** Up to here a broken fetch starts anew; above, what came is kept in a file. */
  keptFromBytes: 8 << 20,
  /** Nothing moved for this long: the other side is given up. */
  stallMs: 15_000,
  openMs: 10_000,
  busyMinMs: 100,
  busyMaxMs: 2000,
  /** A half of a blob that nobody continues is dropped. */
  keptMs: 24 * 3600 * 1000,
} as const
