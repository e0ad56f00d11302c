/** When this node itself last heard each other node, so that it can say for how long one is silent without a leader. */

const peersMax = 4096
/** Whoever was heard so shortly before its connection went had been sending: it fell silent then, not when that was noticed. */
const steadyMs = 10_000

export class Hearing {
  /** By peer id, boot time in ms. */
  readonly #heardAt = new Map<string, number>()

  /** It sent something, or a connection came about. */
  heard(peerId: string, now: number): void {
    if (this.#heardAt.size >= peersMax && !this.#heardAt.has(peerId)) return
    this.#heardAt.set(peerId, now)
  }

  /** The last connection is gone. Nodes that had nothing to tell each other were in touch until now; and whose host
   *  refuses (`refused`), that process has just ended. */
  lost(peerId: string, now: number, refused: boolean): void {
    const heardAt = this.#heardAt.get(peerId)
    if (refused || heardAt === undefined || now - heardAt > steadyMs) this.heard(peerId, now)
  }

  /** Undefined: not heard since this node started. */
  silentMs(peerId: string, now: number): number | undefined {
    const heardAt = this.#heardAt.get(peerId)
    return heardAt === undefined ? undefined : Math.max(0, Math.round(now - heardAt))
  }
}
