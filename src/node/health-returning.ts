/** Members that have lost their log and ask through this node to come back as new ones, while nobody grants it. */

/** They ask again and again; who asked no more has given up, or is somewhere else. */
const patienceMs = 30_000
const peersMax = 256

export class Returning {
  /** By peer id, when it asked last, boot time in ms. */
  readonly #askedAt = new Map<string, number>()

  /** Carries the wish to the leader; `granted` tells whether an answer is a yes. */
  async during<T>(
    peerId: string,
    now: () => number,
    wish: { readonly ask: () => Promise<T>; readonly granted: (answer: T) => boolean },
  ): Promise<T> {
    const isRoom = this.#askedAt.size < peersMax || this.#askedAt.has(peerId)
    if (isRoom) this.#askedAt.set(peerId, now())
    const answer = await wish.ask()
    if (wish.granted(answer)) this.#askedAt.delete(peerId)
    return answer
  }

  peers(now: number): ReadonlySet<string> {
    for (const [peerId, at] of this.#askedAt) {
      if (now - at > patienceMs) this.#askedAt.delete(peerId)
    }
    return new Set(this.#askedAt.keys())
  }
}
