/** consensus: Raft as a machine with inputs (tick, step, propose, advance) and one output (Ready). Shaped like etcd-io/raft. */
export { decodeConfChange, encodeConfChange } from "./conf-change.ts"
export {
  createMemoryStorage,
  emptyConfState,
  type MemoryStorage,
  type MemoryStorageStart,
} from "./memory-storage.ts"
export { createRaft } from "./raft.ts"
export {
  appendThread,
  applyThread,
  type ConfChange,
  type ConfChangeType,
  type ConfState,
  type Entry,
  type EntryType,
  type HardState,
  type Id,
  type Message,
  type MessageType,
  none,
  type ProgressView,
  type ProposeResult,
  type Raft,
  type RaftConfig,
  type RaftState,
  type RaftStatus,
  type RaftStorage,
  type ReadState,
  type Ready,
  type Snapshot,
  type SnapshotMeta,
} from "./types.ts"
