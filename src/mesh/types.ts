/** The shapes of the mesh's door. They match the port in node/parts.ts by shape. */
import type { Clock, Logger, Random } from "../platform/index.ts"
import type { Facts, PeerRef } from "../schema/index.ts"

export type RequestProtocol = "/troupe/ctl/1" | "/troupe/job/1" | "/troupe/join/1"
export type StreamProtocol = "/troupe/snap/1" | "/troupe/blobs/1"

export interface MeshOptions {
  /** Ed25519: a 32-byte seed, 64 raw bytes (seed and public key), or libp2p's protobuf form. */
  readonly privateKey: Uint8Array
  /** Multiaddrs, e.g. `/ip4/0.0.0.0/tcp/8771`. */
  readonly listen: readonly string[]
  /** Scopes mDNS and gossip: clusters of other names are not seen. */
  readonly cluster: string
  /** `--join`: host:port or multiaddr, with or without `/p2p/…`. */
  readonly seeds: readonly string[]
  readonly mdns: boolean
  readonly maxConnections?: number
}

export interface MeshParts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Bytes both ways. Writing waits for room; reading is bounded and throws when the stream broke before its end. */
export interface ByteStream {
  readonly peerId: string
  read: AsyncIterable<Uint8Array>
  write(chunk: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  /** Ends our side. */
  end(): Promise<void>
  abort(reason: Error): void
}

export interface MeshEvents {
  /** Seen by mDNS, a seed, or since it dialled us; not necessarily of our cluster. */
  discovered: PeerRef
  /** The first connection to this peer. */
  connected: { peerId: string; address: string; outbound: boolean }
  /** The last connection is gone. `refused`: nobody listens there any more (ECONNREFUSED, never a timeout). */
  disconnected: { peerId: string; refused: boolean }
}

export type RequestHandler = (
  from: string,
  payload: Uint8Array,
  options: { signal: AbortSignal },
) => Promise<Uint8Array>

export interface DiscoveryState {
  /** `silent`: it runs but nobody was heard. */
  readonly mdns: "on" | "off" | "silent"
  readonly reason?: string
  readonly seeds: readonly string[]
}

/** libp2p behind a small door. */
export interface Mesh {
  readonly peerId: string
  /** ERR_ADDRESS_IN_USE names the address. */
  start(): Promise<void>
  /** Under a second, and any number of times. */
  stop(): Promise<void>
  addresses(): readonly string[]
  connectedPeers(): readonly string[]
  addressOf(peerId: string): string | undefined
  connect(peer: PeerRef, options: { signal: AbortSignal }): Promise<void>
  /** ERR_PEER_UNREACHABLE: `not connected: …` = it was never sent, `connection lost` = the outcome is unknown.
   *  ERR_BUSY when too many wait. Errors of the other side's handler arrive as they were thrown. */
  request(
    peer: PeerRef,
    protocol: RequestProtocol,
    payload: Uint8Array,
    options: { signal: AbortSignal },
  ): Promise<Uint8Array>
  handle(protocol: RequestProtocol, handler: RequestHandler): void
  sendFrame(peer: PeerRef, frame: Uint8Array): boolean
  onFrame(handler: (from: string, frame: Uint8Array) => void): void
  openStream(
    peer: PeerRef,
    protocol: StreamProtocol,
    options: { signal: AbortSignal },
  ): Promise<ByteStream>
  onStream(protocol: StreamProtocol, handler: (stream: ByteStream) => Promise<void>): void
  publish(facts: Facts): void
  onFacts(handler: (from: string, facts: unknown) => void): void
  on<K extends keyof MeshEvents>(event: K, handler: (value: MeshEvents[K]) => void): void
  discovery(): DiscoveryState
}
