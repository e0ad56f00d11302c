/** The configurations a search has been in, so that it never searches on from one twice. */

/**
 * Where a search stands. Every call that returns before `limit` has its place in the order and no call invoked after
 * it has, so the calls concurrent with `limit` that still wait say which calls are linearized.
 */
export interface Configuration<State> {
  /** Position of the first return whose call has no place yet. */
  readonly limit: number
  /** A bit for each waiting call, at its slot; 32 to a number. */
  readonly waiting: readonly number[]
  readonly state: State
  /** How many calls without outcome took effect, by kind. */
  readonly used: readonly number[]
  readonly usedCount: number
  /** The call taken last has no outcome: nothing but its state speaks for it, so the next must make use of that. */
  readonly isLoose: boolean
}

interface StateIdentity<State> {
  hash(state: State): number
  equal(left: State, right: State): boolean
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

function sameNumbers(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((value, index) => value === right[index])
}

export class Memo<State> {
  readonly #identity: StateIdentity<State>
  readonly #buckets = new Map<number, Configuration<State>[]>()
  /** Numbers and states compared so far: a part of what a search costs. */
  comparisons = 0

  constructor(identity: StateIdentity<State>) {
    this.#identity = identity
  }

  /**
   * False where a configuration at least as good was met before. The same calls waiting, the same state and fewer calls
   * without outcome used up is as good: what is left to use can always be left unused.
   */
  add(configuration: Configuration<State>): boolean {
    const hash = this.#hash(configuration)
    const bucket = this.#buckets.get(hash)
    if (bucket === undefined) {
      this.#buckets.set(hash, [configuration])
      return true
    }
    for (const [index, other] of bucket.entries()) {
      if (!this.#isSamePlace(other, configuration)) continue
      if (this.#usesNoMore(other, configuration)) return false
      if (this.#usesNoMore(configuration, other)) {
        bucket[index] = configuration
        return true
      }
    }
    bucket.push(configuration)
    return true
  }

  #hash({ limit, waiting, state }: Configuration<State>): number {
    let hash = mix(limit, this.#identity.hash(state))
    for (const word of waiting) hash = mix(hash, word)
    return hash
  }

  #isSamePlace(left: Configuration<State>, right: Configuration<State>): boolean {
    this.comparisons++
    if (left.limit !== right.limit || !sameNumbers(left.waiting, right.waiting)) return false
    return this.#identity.equal(left.state, right.state)
  }

  #usesNoMore(left: Configuration<State>, right: Configuration<State>): boolean {
    if (left.used === right.used) return true
    if (left.usedCount > right.usedCount) return false
    this.comparisons += 1 + (left.used.length >>> 4)
    return left.used.every((count, kind) => count <= right.used[kind]!)
  }
}
