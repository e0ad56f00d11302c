/** Every bound and period of the mesh in one place. */
import { frameBytesMax } from "../wire/index.ts"

export const requestProtocols = ["/troupe/ctl/1", "/troupe/job/1", "/troupe/join/1"] as const
export const streamProtocols = ["/troupe/snap/1", "/troupe/blobs/1"] as const
export const frameProtocol = "/troupe/raft/1"

export const meshLimits = {
  /** One request or answer. Larger things go by streams. */
  requestBytesMax: 4 << 20,
  /** Unanswered requests to one peer on one protocol, and from one. */
  requestsInFlightMax: 256,
  /** Unsent bytes of a request stream above which no more are taken. */
  requestBacklogBytes: 16 << 20,
  /** What the codec of consensus frames allows: one that it makes must never be undeliverable. */
  frameBytesMax,
  frameQueueMax: 4096,
  frameQueueBytesMax: 16 << 20,
  /** Frames written as one piece. */
  frameBatchBytes: 256 << 10,
  gossipBytesMax: 16 << 10,
  /** Facts accepted from one author: a burst, and then a second. */
  gossipBurst: 20,
  gossipPerSecond: 5,
  /** Peers of which something is remembered. */
  peersMax: 2048,
  addressesMax: 8,
  /** A byte stream that is not read is paused above, and resumed below. */
  readHighBytes: 512 << 10,
  readLowBytes: 128 << 10,
  /** What the other side may send before it hears that we paused. */
  windowBytes: 4 << 20,
  /** Above this in libp2p's own buffers a stream is reset; never reached by well-behaved writers. */
  readBufferBytesMax: 16 << 20,
  writeBufferBytesMax: 32 << 20,
  streamsPerPeerMax: 32,
} as const

export const meshPeriods = {
  dialMs: 5000,
  /** One address of several. */
  addressDialMs: 2000,
  /** How long the higher peer id lets the lower one dial first. */
  yieldMs: 2000,
  backoffMinMs: 50,
  /** Nobody listens there: asking again costs a millisecond. */
  backoffRefusedMaxMs: 1000,
  backoffMaxMs: 2000,
  seedBackoffMinMs: 200,
  seedBackoffMaxMs: 5000,
  /** After that long without a byte a peer is asked for one; after that long without an answer its connections are cut. */
  idleMs: 2000,
  silenceMs: 5000,
  pulseMs: 500,
  /** The probe that tells a dead process from a broken connection. */
  probeMs: 250,
  probeAgainMs: 1,
  /** A living process keeps an accepted connection longer than this. */
  probeHoldMs: 250,
  rediscoverMs: 1000,
  mdnsQueryMs: 10_000,
  mdnsEarlyQueryMs: 600,
  mdnsEarlyMs: 3000,
  mdnsSilentMs: 15_000,
  stopMs: 800,
  flushMs: 50,
} as const
