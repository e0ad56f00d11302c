/** Who speaks as a member: the start of it that was seen last, or an older copy of its disk. */

/** A start as a number: its count, then 20 bits of its random id. 0: not said. */
export type BootTag = number

const nonceRange = 2 ** 20
const pattern = /^(\d{1,9})-([0-9a-f]{5})/

/** Of a boot as the identity store names it, `<count>-<random>`; 0 of anything else. */
export function bootTag(boot: string | undefined): BootTag {
  const [, count, nonce] = pattern.exec(boot ?? "") ?? []
  return count && nonce ? Number(count) * nonceRange + Number.parseInt(nonce, 16) : 0
}

export function bootCount(tag: BootTag): number {
  return Math.floor(tag / nonceRange)
}

/**
 * Whether `tag` is of a disk that is older than the one that `known` was counted on: a lower count, or the same count
 * under another id, which two copies of one disk have when each starts once.
 */
export function isOutdated(tag: BootTag, known: BootTag): boolean {
  if (tag === 0 || known === 0 || tag === known) return false
  return bootCount(tag) <= bootCount(known)
}

/** Why a member is told that it is not the one it was. */
export interface Outdated {
  readonly memberId: number
  /** Of the frame that says so: another start of that member is not meant. */
  readonly boot: BootTag
  readonly reason: string
}

interface Acknowledged {
  readonly term: number
  readonly boot: BootTag
  readonly index: number
}

const tellEveryMs = 1000

/** What was heard of each member's starts, and at a leader of its log's end. */
export class Boots {
  readonly #seen = new Map<number, BootTag>()
  readonly #acknowledged = new Map<number, Acknowledged>()
  readonly #toldAt = new Map<number, number>()

  /** The newest start of a member that is known here or, by its session, to the cluster. */
  known(id: number, session: string | undefined): BootTag {
    const recorded = bootTag(session)
    const seen = this.#seen.get(id) ?? 0
    return isOutdated(seen, recorded) ? recorded : seen === 0 ? recorded : seen
  }

  /** Why nothing of this start counts; undefined when it does, and then it is the newest that is known. */
  refusal(id: number, boot: BootTag, session: string | undefined): string | undefined {
    const known = this.known(id, session)
    if (isOutdated(boot, known)) {
      return `start ${bootCount(boot)} of it came after start ${bootCount(known)}: its disk is an older copy`
    }
    if (boot > 0) this.#seen.set(id, boot)
    return undefined
  }

  /** A leader's own book of this term: what a member acknowledged durably under which start. */
  acknowledged(id: number, entry: Acknowledged): void {
    const before = this.#acknowledged.get(id)
    if (before?.term === entry.term && before.index > entry.index) return
    this.#acknowledged.set(id, entry)
  }

  /**
   * Why a member that refuses an append has lost its log; undefined when it has not. Only another start counts: an answer
   * of the same one may have been under way for long. What it acknowledged to the leader of this term it agrees with, so
   * its hint cannot be below that.
   */
  lost(id: number, refused: Acknowledged): string | undefined {
    const before = this.#acknowledged.get(id)
    const isOther = before?.term === refused.term && before.boot !== refused.boot
    if (!isOther || before.boot === 0 || refused.boot === 0 || refused.index >= before.index) {
      return undefined
    }
    return `its log ends at ${refused.index}, it had acknowledged ${before.index}`
  }

  /** Whether it is time to tell a member again. */
  mayTell(id: number, now: number): boolean {
    const last = this.#toldAt.get(id)
    if (last !== undefined && now - last < tellEveryMs) return false
    this.#toldAt.set(id, now)
    return true
  }
}
