/** When a follower may campaign before its timeout: its leader's process is surely dead (DESIGN.md §5.6).
 *
 *  The mesh says so only when no connection is left and a redial was refused, or when another boot of that node answers.
 *  Then the follower forgets the leader, which touches neither term nor vote, and pre-votes a moment later: voters that
 *  lost it too grant, the others refuse. One hint a term; after a hint that was wrong (the same leader of the same term
 *  was heard again) the moment is twice as long, until a hint was right. */

/** The survivors notice within a millisecond of each other: in turns they do not split the vote. */
const turnMs = 25
const jitterMs = 5
const doubtMax = 16

export class LostLeader {
  #term = 0
  #leader = 0
  #doubt = 1
  /** Hints that were given, and how many of them the leader outlived. */
  hints = 0
  falseHints = 0

  /** How long to wait before the pre-vote, ms; undefined: this term has had its hint. `turn` counts the surviving voters from 0. */
  hint(
    of: { readonly leader: number; readonly term: number },
    draw: { readonly turn: number; readonly random: number },
  ): number | undefined {
    if (of.leader === 0 || of.term <= this.#term) return undefined
    this.#term = of.term
    this.#leader = of.leader
    this.hints++
    return this.#doubt * (Math.max(0, draw.turn) * turnMs + draw.random * jitterMs)
  }

  /** Somebody leads. */
  heard(of: { readonly leader: number; readonly term: number }): void {
    if (of.leader === 0 || this.#leader === 0) return
    if (of.term > this.#term) this.#doubt = 1
    else if (of.leader === this.#leader) {
      this.#doubt = Math.min(doubtMax, 2 * this.#doubt)
      this.falseHints++
    }
    this.#leader = 0
  }
}
