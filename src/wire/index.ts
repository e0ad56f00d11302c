/** wire: binary codecs of raft frames, commands, job and keeper messages, and the shapes that they carry. */
export type { ConfState, Entry, EntryType, HardState, Message } from "../consensus/index.ts"
export type { AppliedMark, LogBatch, LogMark, LogRecord, Row } from "./log.ts"
export { logMark, logRecord, rowChunk } from "./log.ts"
export type { KeeperAttempt, KeptOutput, LaunchSpec, OutputPiece, OutputStart } from "./keeper.ts"
export {
  decodeEntry,
  encodeEntries,
  encodeEntry,
  entryBytesMax,
  type EntryData,
  entryItemsMax,
  entryVersionOf,
  singleBytesMax,
  UnknownVersionError,
} from "./entry.ts"
export { outputsMax } from "./fields.ts"
export { decodeFrame, encodeFrame, type Frame, frameBytesMax, frameVersion } from "./frame.ts"
export {
  type AttemptRef,
  type AttemptSummary,
  ctlAnswer,
  ctlBodyBytesMax,
  type CtlRequest,
  ctlRequest,
  type HeardAt,
  type Hello,
  type JobAnswer,
  jobAnswer,
  type JobRequest,
  jobRequest,
  type JoinAnswer,
  joinAnswer,
  type JoinRequest,
  joinRequest,
  logBytesMax,
  type MessageCodec,
  messageVersion,
  type OneStart,
  reportItemsMax,
  seekersMax,
  startItemsMax,
  type TailPiece,
  type TailStream,
  tailStreamsMax,
} from "./messages.ts"
