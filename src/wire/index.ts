/** wire: binary codecs of raft frames, commands, job and keeper messages, and the shapes that they carry. */
export type { ConfState, Entry, EntryType, HardState, Message } from "../consensus/index.ts"
export type { AppliedMark, LogBatch, LogMark, Row } from "./log.ts"
export type { KeeperAttempt, LaunchSpec } from "./keeper.ts"
