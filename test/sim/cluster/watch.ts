/** What every applied row must hold to, seen at the doors of the stores: replicas agree at every index they share. */
import type { LogStore, TableStore } from "../../../src/node/index.ts"
import type { AppliedMark } from "../../../src/wire/index.ts"

export class InvariantError extends Error {}

/** The rows of one open replica as its table store was told them. */
export interface Replicated {
  clusterId: string
  memberId: number
  index: number
  /** Who votes, as of this index; in a joint change two sets do. */
  voters: readonly (readonly number[])[]
  readonly rows: Map<string, string>
}

/** Sums of 52 bits stay whole numbers. */
const modulus = 2 ** 52

/** Order-independent, 52 bits: collisions would only hide a difference, and not twice. */
class RowsHash {
  #sum = 0

  add(key: string, value: string): void {
    this.#sum = (this.#sum + mix(`${key}\n${value}`)) % modulus
  }

  remove(key: string, value: string): void {
    const sum = this.#sum - mix(`${key}\n${value}`)
    this.#sum = sum < 0 ? sum + modulus : sum
  }

  get value(): number {
    return this.#sum
  }
}

function mix(text: string): number {
  let one = 0x811c9dc5
  let other = 0x1b873593
  for (let place = 0; place < text.length; place++) {
    const code = text.charCodeAt(place)
    one = Math.imul(one ^ code, 0x01000193)
    other = Math.imul(other ^ code, 0x85ebca6b) ^ (other >>> 13)
  }
  return ((one >>> 0) & 0xfffff) * 2 ** 32 + (other >>> 0)
}

/** Of a whole world: what stood at which index, by the first who got there. */
export class Watch {
  readonly #at = new Map<string, { hash: number; who: string }>()
  /** How often two replicas were compared. */
  compared = 0

  check(who: string, replica: Replicated, hash: number): void {
    const key = `${replica.clusterId}@${replica.index}`
    const known = this.#at.get(key)
    if (!known) {
      this.#at.set(key, { hash, who })
      return
    }
    if (known.who !== who) this.compared++
    if (known.hash === hash) return
    throw new InvariantError(
      `state machine safety: at index ${replica.index} of ${replica.clusterId} the tables of ${who} and ${known.who} differ`,
    )
  }
}

/** Wraps the stores of one replica so that every batch of rows is compared. */
export function watched(
  stores: { log: LogStore; tables: TableStore },
  report: { who: string; watch: Watch; onBroken: (error: Error) => void },
): { log: LogStore; tables: TableStore; replicated: Replicated } {
  const replicated: Replicated = {
    clusterId: "",
    memberId: 0,
    index: 0,
    voters: [],
    rows: new Map(),
  }
  let hash = new RowsHash()
  const put = (key: string, value: string | undefined): void => {
    const before = replicated.rows.get(key)
    if (before !== undefined) hash.remove(key, before)
    if (value === undefined) replicated.rows.delete(key)
    else {
      hash.add(key, value)
      replicated.rows.set(key, value)
    }
  }
  const check = ({ index, confState }: Pick<AppliedMark, "index" | "confState">): void => {
    const { voters, votersOutgoing } = confState
    replicated.voters = [voters, votersOutgoing].filter((set) => set.length > 0)
    if (index < replicated.index) {
      report.onBroken(new InvariantError(`${report.who} went back to index ${index}`))
    }
    replicated.index = index
    try {
      report.watch.check(report.who, replicated, hash.value)
    } catch (error) {
      report.onBroken(error as Error)
    }
  }
  const reload = async (): Promise<void> => {
    replicated.rows.clear()
    hash = new RowsHash()
    for await (const [key, value] of stores.tables.rows()) put(key, value)
  }
  return {
    replicated,
    log: {
      async open(identity) {
        Object.assign(replicated, identity)
        return await stores.log.open(identity)
      },
      append: (batch) => stores.log.append(batch),
      compact: (mark) => stores.log.compact(mark),
      stats: () => stores.log.stats(),
      close: () => stores.log.close(),
    },
    tables: {
      rows: (prefix) => stores.tables.rows(prefix),
      get: (key) => stores.tables.get(key),
      view: () => stores.tables.view(),
      close: () => stores.tables.close(),
      hash: () => stores.tables.hash(),
      setAside: () => stores.tables.setAside(),
      async open() {
        const mark = await stores.tables.open()
        if (mark) {
          await reload()
          check(mark)
        }
        return mark
      },
      async write(writes, mark, options) {
        for (const { key, value } of writes) put(key, value)
        check(mark)
        await stores.tables.write(writes, mark, options)
      },
      async replace(rows, mark) {
        await stores.tables.replace(rows, mark)
        await reload()
        replicated.index = 0
        check(mark)
      },
    },
  }
}
