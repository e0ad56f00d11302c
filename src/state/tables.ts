/** The replicated tables in memory: a map for lookups beside all keys in order, for ranges.
 *
 *  The keys stand in sorted chunks of at most 512; a chunk is found by halving. At a million rows an insert moves at
 *  most one chunk, and a range costs what it yields. */
import type { View, Write } from "./types.ts"

const chunkMax = 512

export class Tables implements View {
  #values = new Map<string, unknown>()
  #chunks: string[][] = []
  #commits = 0

  get size(): number {
    return this.#values.size
  }

  get(key: string): unknown {
    return this.#values.get(key)
  }

  /** Must be read to its end before the next commit. */
  *range(prefix: string): Generator<readonly [key: string, value: unknown]> {
    const commits = this.#commits
    let at = this.#chunkOf(prefix)
    let place = at < this.#chunks.length ? lowerBound(this.#chunks[at]!, prefix) : 0
    for (; at < this.#chunks.length; at++, place = 0) {
      const chunk = this.#chunks[at]!
      for (; place < chunk.length; place++) {
        const key = chunk[place]!
        if (!key.startsWith(prefix)) return
        yield [key, this.#values.get(key)]
        if (commits !== this.#commits) throw new Error("tables changed while a range was read")
      }
    }
  }

  /** The same downwards, beginning before `before`; the same rule for commits. */
  *rangeDown(prefix: string, before?: string): Generator<readonly [key: string, value: unknown]> {
    const commits = this.#commits
    // No key of ours has a character after this one.
    const end = before ?? `${prefix}\uffff`
    let at = Math.min(this.#chunkOf(end), this.#chunks.length - 1)
    let place = at < 0 ? -1 : lowerBound(this.#chunks[at]!, end) - 1
    while (at >= 0) {
      const chunk = this.#chunks[at]!
      for (; place >= 0; place--) {
        const key = chunk[place]!
        if (key < prefix) return
        if (!key.startsWith(prefix)) continue
        yield [key, this.#values.get(key)]
        if (commits !== this.#commits) throw new Error("tables changed while a range was read")
      }
      at--
      place = (this.#chunks[at]?.length ?? 0) - 1
    }
  }

  /** At most `limit` rows after the key `after`: for walks that give way between pages. */
  page(
    prefix: string,
    { after, limit }: { readonly after: string | undefined; readonly limit: number },
  ): readonly (readonly [key: string, value: unknown])[] {
    const from = after === undefined ? prefix : `${after}\0`
    const rows: (readonly [string, unknown])[] = []
    let at = this.#chunkOf(from)
    let place = at < this.#chunks.length ? lowerBound(this.#chunks[at]!, from) : 0
    for (; at < this.#chunks.length; at++, place = 0) {
      for (const key of this.#chunks[at]!.slice(place)) {
        if (rows.length === limit || !key.startsWith(prefix)) return rows
        rows.push([key, this.#values.get(key)])
      }
    }
    return rows
  }

  /** Takes over everything that `other` holds, which is empty afterwards. */
  adopt(other: Tables): void {
    this.#commits++
    this.#values = other.#values
    this.#chunks = other.#chunks
    other.#values = new Map()
    other.#chunks = []
  }

  commit(writes: readonly Write[]): void {
    this.#commits++
    for (const { key, value } of writes) {
      if (value === undefined) this.#remove(key)
      else {
        if (!this.#values.has(key)) this.#insert(key)
        this.#values.set(key, value)
      }
    }
  }

  clear(): void {
    this.#commits++
    this.#values.clear()
    this.#chunks.length = 0
  }

  /** The first chunk whose last key is not before `key`; the number of chunks when there is none. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#chunks[middle]!.at(-1)! < key) low = middle + 1
      else high = middle
    }
    return low
  }

  #insert(key: string): void {
    const at = Math.min(this.#chunkOf(key), this.#chunks.length - 1)
    if (at < 0) {
      this.#chunks.push([key])
      return
    }
    const chunk = this.#chunks[at]!
    chunk.splice(lowerBound(chunk, key), 0, key)
    if (chunk.length <= chunkMax) return
    // Keys mostly grow: a full last chunk is left nearly whole instead of being halved.
    const cut = at === this.#chunks.length - 1 ? chunkMax - 32 : chunkMax >>> 1
    this.#chunks.splice(at + 1, 0, chunk.splice(cut))
  }

  #remove(key: string): void {
    if (!this.#values.delete(key)) return
    const at = this.#chunkOf(key)
    const chunk = this.#chunks[at]!
    chunk.splice(lowerBound(chunk, key), 1)
    if (chunk.length === 0) this.#chunks.splice(at, 1)
  }
}

/** Place of the first key that is not before `key`. */
function lowerBound(chunk: readonly string[], key: string): number {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (chunk[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}

/** Empty tables. */
export function createTables(): Tables {
  return new Tables()
}
