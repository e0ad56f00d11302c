/** The parts a node needs, as it needs them. assembly/ hands in the real ones, test/sim the simulated ones. */
import type { Clock, Logger, LoopProbe, Random } from "../platform/index.ts"
import type { Ending, Facts, Identity, PeerRef, Plan, RunView } from "../schema/index.ts"
import type { Entry, HardState } from "../consensus/index.ts"
import type {
  AppliedMark,
  KeeperAttempt,
  KeptOutput,
  LaunchSpec,
  LogBatch,
  LogMark,
  OutputPiece,
  OutputStart,
  Row,
} from "../wire/index.ts"

// ---------------------------------------------------------------- consensus log

/** The WAL. Every write error is fatal: the promise rejects with ERR_STORAGE, and so does every later one. */
export interface LogStore {
  /** Scans and checks. ERR_LOG_CORRUPT when more than a torn tail is broken. */
  open(identity: { clusterId: string; memberId: number }): Promise<{
    hardState: HardState
    /** Where the log starts: entries follow `mark.index`. */
    mark: LogMark
    entries: readonly Entry[]
    tornBytes: number
  }>
  /** Resolves when durable (one fdatasync for all batches that wait). In order. */
  append(batch: LogBatch): Promise<void>
  /** Segments wholly at or below index may go; the mark becomes {index, term, confState}. */
  compact(mark: LogMark): Promise<void>
  /** Bytes since the last mark, and p99 of fdatasync, ms. */
  stats(): { bytes: number; fsyncP99Ms: number }
  close(): Promise<void>
}

// ---------------------------------------------------------------- applied tables, snapshots, node state

/** Replicated tables on disk (LevelDB). One batch = writes + mark. */
export interface TableStore {
  /** ERR_STORAGE when rows and hash disagree (silent loss): the caller rebuilds from snapshot and log. */
  open(): Promise<AppliedMark | undefined>
  rows(prefix?: string): AsyncIterable<Row>
  get(key: string): Promise<string | undefined>
  /** `value: undefined` deletes. `sync` waits for the disk. */
  write(
    writes: readonly { key: string; value: string | undefined }[],
    mark: Omit<AppliedMark, "hash">,
    options: { sync: boolean },
  ): Promise<void>
  /** Replaces everything in the store by these rows. */
  replace(rows: AsyncIterable<Row>, mark: Omit<AppliedMark, "hash">): Promise<void>
  /** Hash of all rows as of every write asked for before, as in the mark. */
  hash(): Promise<string>
  /** Closes, and puts everything in the store where nothing reads it: the next open finds an empty store. */
  setAside(): Promise<void>
  /** A consistent view of now: rows as of `mark`. */
  view(): Promise<{ mark: AppliedMark; rows: AsyncIterable<Row> }>
  close(): Promise<void>
}

/** The beginning of a snapshot: how many chunks, and their hash. */
export interface HeldChunks {
  readonly chunks: number
  readonly hash: string
}

/** Snapshots on disk: rows in checksummed chunks, written beside and renamed. */
export interface SnapshotStore {
  latest(): Promise<LogMark | undefined>
  create(mark: LogMark, rows: AsyncIterable<Row>): Promise<{ bytes: number }>
  /** Of the newest one; 0 without one. */
  bytes(): Promise<number>
  /** Raw chunks for sending, without the first `from`; each is verified when received. ERR_LOG_CORRUPT, ERR_STORAGE. */
  chunks(index: number, from?: number): AsyncIterable<Uint8Array>
  /** How many of the first chunks need not be sent to somebody who holds this of a snapshot. */
  agrees(index: number, held: HeldChunks): Promise<number>
  /** What is here of a snapshot whose stream broke. */
  held(mark: LogMark): Promise<HeldChunks>
  /** Writes received chunks behind the first `from` that are here, verifies, keeps. ERR_LOG_CORRUPT on a bad chunk; what
   *  came before a stream broke stays. */
  receive(mark: LogMark, chunks: AsyncIterable<Uint8Array>, from?: number): Promise<void>
  /** Moves one that cannot be read to `quarantine/`; answers where it is then. */
  setAside(index: number): Promise<string>
  rows(index: number): AsyncIterable<Row>
  /** Drops all but the newest. */
  prune(): Promise<void>
}

/** This node's own small durable facts for resumption (LevelDB, sync): cached peers, outbox of reports, roster. */
export interface LocalStore {
  open(): Promise<void>
  get(key: string): Promise<unknown>
  put(key: string, value: unknown): Promise<void>
  delete(key: string): Promise<void>
  range(prefix: string): AsyncIterable<readonly [string, unknown]>
  close(): Promise<void>
}

/** node.json: tmp, fsync, rename, fsync of the directory. */
export interface IdentityStore {
  /** Counts this start durably; `boot` is `<count>-<random hex>`; a data directory copied from another machine gets `foreign: true`. */
  open(): Promise<{
    identity: Identity | undefined
    boot: string
    bootCount: number
    foreign: boolean
  }>
  write(identity: Identity): Promise<void>
  /** Moves consensus data of a cluster that is left to `archive/`, so that a new log can begin. */
  archive(clusterId: string): Promise<void>
  /** The same to `quarantine/`, for what cannot be trusted; answers the directory that has it then. */
  quarantine(member: { clusterId: string; memberId: number }): Promise<string>
}

// ---------------------------------------------------------------- blobs

export interface BlobStore {
  has(digest: string): Promise<{ bytes: number } | undefined>
  /** Streams to a temporary file while hashing; ERR_BLOB_CORRUPT when `expect` differs. */
  put(
    source: AsyncIterable<Uint8Array>,
    expect?: string,
  ): Promise<{ digest: string; bytes: number }>
  /** ERR_BLOB_NOT_FOUND. */
  read(digest: string, range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>
  remove(digest: string): Promise<void>
  /** Every blob here, with when it came (wall clock, ms). */
  list(): AsyncIterable<{ readonly digest: string; readonly bytes: number; readonly at: number }>
}

/** Bytes between nodes. */
export interface Transfer {
  /** From any of these peers to the local store, verified; resumes what is half there. */
  fetch(
    digest: string,
    from: readonly PeerRef[],
    options: { signal: AbortSignal },
  ): Promise<{ bytes: number }>
  /** Serves this node's blobs to peers until stopped. */
  start(): void
  stop(): Promise<void>
}

// ---------------------------------------------------------------- mesh

export type RequestProtocol = "/troupe/ctl/1" | "/troupe/job/1" | "/troupe/join/1"
export type StreamProtocol = "/troupe/snap/1" | "/troupe/blobs/1"

/** A byte stream with backpressure both ways. Writing waits for room; reading is bounded. */
export interface ByteStream {
  readonly peerId: string
  read: AsyncIterable<Uint8Array>
  write(chunk: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  /** Ends our side. */
  end(): Promise<void>
  abort(reason: Error): void
}

export interface MeshEvents {
  /** A peer was seen by discovery (mDNS, --join, cache); not necessarily of our cluster. */
  discovered: PeerRef
  connected: { peerId: string; address: string; outbound: boolean }
  /** The last connection is gone. `refused`: a redial was answered by nobody listening (the process is dead). */
  disconnected: { peerId: string; refused: boolean }
}

/** libp2p behind a small door. */
export interface Mesh {
  readonly peerId: string
  start(): Promise<void>
  stop(): Promise<void>
  /** What we announce: never loopback unless that is all there is. */
  addresses(): readonly string[]
  connectedPeers(): readonly string[]
  /** Address of the current connection to a peer, if any. */
  addressOf(peerId: string): string | undefined
  /** Connects if needed. ERR_PEER_UNREACHABLE. Never called with our own id. */
  connect(peer: PeerRef, options: { signal: AbortSignal }): Promise<void>
  /** One request, one answer, over a kept stream or a new one. Errors of the other side's handler arrive as TroupeError. */
  request(
    peer: PeerRef,
    protocol: RequestProtocol,
    payload: Uint8Array,
    options: { signal: AbortSignal },
  ): Promise<Uint8Array>
  handle(
    protocol: RequestProtocol,
    handler: (
      from: string,
      payload: Uint8Array,
      options: { signal: AbortSignal },
    ) => Promise<Uint8Array>,
  ): void
  /** Raft frames: ordered, one long-lived stream to each peer, bounded queue; false when dropped. */
  sendFrame(peer: PeerRef, frame: Uint8Array): boolean
  onFrame(handler: (from: string, frame: Uint8Array) => void): void
  openStream(
    peer: PeerRef,
    protocol: StreamProtocol,
    options: { signal: AbortSignal },
  ): Promise<ByteStream>
  onStream(protocol: StreamProtocol, handler: (stream: ByteStream) => Promise<void>): void
  /** Signed gossip of facts; hints, never membership. */
  publish(facts: Facts): void
  onFacts(handler: (from: string, facts: unknown) => void): void
  on<K extends keyof MeshEvents>(event: K, handler: (value: MeshEvents[K]) => void): void
  /** Why discovery might find nobody, for `cluster health`. */
  discovery(): { mdns: "on" | "off" | "silent"; reason?: string; seeds: readonly string[] }
}

// ---------------------------------------------------------------- keeper

/** The client of this data directory's keeper. It connects again by itself; calls fail with ERR_KEEPER meanwhile. */
export interface Keeper {
  /** Starts the keeper process if none answers on the socket. */
  start(): Promise<void>
  /** Leaves; jobs and keeper go on. */
  stop(): Promise<void>
  /** Idempotent by fence: the same fence again answers that attempt's state. ERR_LEASE_LOST for a lower fence of the
   *  same task or a lower term than seen; ERR_FORBIDDEN for another cluster. Resolves when `accepted` is durable and
   *  the process was spawned or could not be (then it is `ended`, outcome not_started). */
  launch(spec: LaunchSpec): Promise<KeeperAttempt>
  /** TERM to the whole tree, KILL after graceMs. Resolves at once; `ended` comes by event. */
  end(target: {
    run: string
    task: string
    fence: number
    graceMs: number
    reason: string
  }): Promise<void>
  list(): Promise<readonly KeeperAttempt[]>
  /** This node had a lease of the cluster `ageMs` ago: attempts with `selfStopMs` count from then. ERR_KEEPER. */
  renew(lease: { readonly clusterId: string; readonly ageMs: number }): Promise<void>
  onChange(handler: (attempt: KeeperAttempt) => void): void
  /** The result is accepted: journal rows and its directory go. With `files` its output goes too, else it is kept until
   *  `dropKept`. */
  forget(target: { run: string; task: string; fence: number; files: boolean }): Promise<void>
  /** Bytes [offset, offset+max) of a stream, and whether the stream is complete. */
  read(
    target: { run: string; task: string; fence: number },
    stream: "stdout" | "stderr",
    range: { offset: number; max: number },
  ): Promise<{ data: Uint8Array; size: number; ended: boolean }>
  /** The same for merging: also of an attempt that is forgotten but whose output is kept, with the times of what came. */
  tail(
    target: {
      run: string
      task: string
      attempt: number
      fence: number
      stream: "stdout" | "stderr"
    },
    range: {
      readonly start: OutputStart
      readonly max: number
      /** Also of what is not read now. */
      readonly allTimes?: boolean
    },
  ): Promise<OutputPiece>
  /** Output of runs of which no attempt is known here any more. */
  kept(): Promise<readonly KeptOutput[]>
  /** Removes such output, and remembers when. */
  dropKept(runs: ReadonlySet<string>): Promise<void>
  /** A file that this door named (stdout, stderr, an artifact), in chunks of at most 256 KiB. */
  content(file: string): AsyncIterable<Uint8Array>
  /** Files of the attempt's directory that match, with forward-slash relative paths. Links are not followed. What has a
   *  problem cannot come home. */
  artifacts(
    target: { run: string; task: string; fence: number },
    globs: readonly string[],
  ): Promise<readonly { path: string; file: string; bytes: number; problem?: string }[]>
}

// ---------------------------------------------------------------- bundles

export interface BundleTree {
  readonly files: readonly { path: string; digest: string; bytes: number }[]
}

/** Bundle work over blobs; runs on the data thread where it is heavy. */
export interface Bundles {
  /** Content of the metadata files for a run; pure formatting lives in the bundles room. */
  describe(input: BundleInput): Promise<readonly { path: string; content: Uint8Array }[]>
  /** Reads role logs of the tree; returns summary.json. */
  analyze(tree: BundleTree, input: BundleInput): Promise<Uint8Array>
  diff(tree: BundleTree, baseline: string): Promise<Uint8Array>
  /** Adds hashes.txt and SHA256SUMS, packs `<label>/…` as tar (deterministic) into the blob store. */
  seal(tree: BundleTree, label: string): Promise<{ digest: string; bytes: number; files: number }>
}

/** Everything the metadata files of a bundle say. */
export interface BundleInput {
  readonly run: RunView
  readonly plan: Plan
  /** Launch lines as they were resolved. */
  readonly roles: readonly {
    role: string
    /** `agent` as written in the manifest. */
    agentId: string
    host: string
    os: string
    arch: string
    argv: readonly string[]
    bindIp?: string
    targetIp?: string
    attempt: number
    ending: Ending | undefined
  }[]
  readonly missing: readonly { path: string; reason: string }[]
  /** Text of manifest_resolved.yaml. */
  readonly resolved: string
  readonly controller: { host: string; os: string; arch: string; version: string }
}

// ---------------------------------------------------------------- the whole

export interface ReplicaStores {
  readonly log: LogStore
  readonly tables: TableStore
  readonly snapshots: SnapshotStore
}

export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The consensus stores of this data directory, closed until opened; new ones after an archive. */
  readonly stores: () => ReplicaStores
  readonly local: LocalStore
  readonly identity: IdentityStore
  readonly blobs: BlobStore
  readonly mesh: Mesh
  readonly transfer: Transfer
  readonly keeper: Keeper
  readonly bundles: Bundles
  /** This machine, for facts. */
  readonly host: HostFacts
  /** Measures this process's event loop. */
  readonly loop: Pick<LoopProbe, "delay" | "during">
  /** Absolute path of a local blob's file, for staging. */
  readonly blobFile: (digest: string) => string
  /** The process must end: storage poisoned (74), newer cluster (76), broken invariant (70). */
  readonly fatal: (exitCode: 70 | 74 | 76, error: Error) => void
  /** Tests only: a run is held before work of this phase is assigned. */
  readonly hold?: (run: { id: string; label: string }, phase: string) => boolean
}

export interface HostSample {
  readonly freeMemoryBytes: number
  readonly load1: number
  /** Of the data directory's file system. */
  readonly diskFreeBytes: number
  readonly diskTotalBytes: number
}

export interface HostFacts {
  readonly hostname: string
  readonly os: string
  readonly arch: string
  readonly cores: number
  readonly memoryBytes: number
  /** Programs on the PATH, of those that are looked for. */
  tools(): readonly string[]
  /** From now on these are looked for too. */
  lookFor(tools: readonly string[]): void
  sample(): HostSample
}
