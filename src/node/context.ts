/** What the pieces of one node share: who it is, what it holds, and how it asks others. */
import type { Identity, Member, MemberDeclaration, PeerRef } from "../schema/index.ts"
import type { JobAnswer, JobRequest } from "../wire/index.ts"
import type { FullDisk } from "./full-disk.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"
import type { Replica } from "./replica.ts"

export interface CallOptions {
  readonly signal: AbortSignal
  readonly principal?: string
  readonly key?: string | undefined
  /** Times forwarded before. */
  readonly hops?: number
}

export interface NodeContext {
  readonly options: NodeOptions
  readonly parts: Parts
  /** Random id of this start. */
  boot(): string
  identity(): Identity | undefined
  replica(): Replica | undefined
  /** The newest roster: from the tables, else the one a leader sent. */
  members(): readonly Member[]
  declaration(): MemberDeclaration
  leaderPeer(): PeerRef | undefined
  readonly disk: FullDisk
  /** Runs an operation at the leader, here or there. */
  call(op: string, body: unknown, options: CallOptions): Promise<unknown>
  /** Runs an operation at one named peer (or here), without looking for the leader. */
  callPeer(peer: PeerRef, op: string, body: unknown, options: CallOptions): Promise<unknown>
  job(peer: PeerRef, request: JobRequest, options: { signal: AbortSignal }): Promise<JobAnswer>
  /** Looks for programs that a manifest asks for, from now on, and tells the leader what is here. */
  lookForTools(tools: readonly string[]): Promise<void>
  /** Brings a blob here from any connected member. */
  fetch(digest: string, signal: AbortSignal): Promise<void>
}
