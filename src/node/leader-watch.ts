/** Watches the connection to the leader: is its process gone, or only the way to it (DESIGN.md §5.6)? */
import type { PeerRef } from "../schema/index.ts"
import type { Replica } from "./replica.ts"

export interface LeaderWatchInput {
  replica(): Replica | undefined
  /** The start of this peer that gave the last lease here. */
  bootOf(peerId: string): string | undefined
  /** Asks the process that answers there now. */
  askBoot(peer: PeerRef): Promise<string>
  note(message: string, fields: Record<string, unknown>): void
}

export class LeaderWatch {
  readonly #input: LeaderWatchInput
  /** A leader to whom no connection was left, though nobody refused. */
  #lost: { readonly peerId: string; readonly term: number } | undefined

  constructor(input: LeaderWatchInput) {
    this.#input = input
  }

  /** The last connection is gone; `refused`: and a redial says that nobody listens. */
  disconnected(peerId: string, refused: boolean): void {
    this.#input.replica()?.connectionLost(peerId)
    const replica = this.#leadBy(peerId)
    if (!replica) return
    if (refused) replica.leaderIsDead()
    else this.#lost = { peerId, term: replica.term }
  }

  /** Somebody answers there again: the same process, then it only was the way; or another boot. */
  connected(peerId: string): void {
    const lost = this.#lost
    if (lost?.peerId !== peerId) return
    this.#lost = undefined
    const replica = this.#leadBy(peerId)
    const known = this.#input.bootOf(peerId)
    const peer = replica?.peerOf(replica.leader)
    if (!replica || !peer || known === undefined || replica.term !== lost.term) return
    this.#input.askBoot(peer).then(
      (boot) => {
        const isStill = this.#leadBy(peerId) === replica && replica.term === lost.term
        if (isStill && boot !== known) replica.leaderIsDead()
      },
      // No answer tells nothing: the timeout decides.
      (error: unknown) =>
        this.#input.note("the leader's boot is not known", { error: String(error) }),
    )
  }

  #leadBy(peerId: string): Replica | undefined {
    const replica = this.#input.replica()
    if (!replica || replica.leader === 0) return undefined
    return replica.peerOf(replica.leader)?.peerId === peerId ? replica : undefined
  }
}
