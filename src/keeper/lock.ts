/** One keeper per data directory, also when two start at once and after one was killed. */
import { linkSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isAlive, readStat } from "./process-table.ts"

interface Owner {
  readonly pid: number
  readonly ticks: string
  readonly bootId: string
}

const pattern = /^lock\.(\d+)$/

/**
 * Takes the lock, or answers who holds it. Holders are numbered: `lock.<n>` appears by link, which only one of two can
 * do. Only after it has its number does a holder remove the lower ones, so a slow rival that links a number which was
 * removed always finds a higher one and backs off.
 */
export function takeLock(root: string, bootId: string): { heldBy: number } | undefined {
  const stat = readStat(process.pid)
  const own: Owner = { pid: process.pid, ticks: stat?.ticks ?? "", bootId }
  const draft = join(root, `lock.draft-${process.pid}`)
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 })
  try {
    for (;;) {
      const highest = Math.max(0, ...numbers(root))
      const holder = highest > 0 ? readOwner(join(root, `lock.${highest}`)) : undefined
      if (holder && isHolding(holder, bootId)) return { heldBy: holder.pid }
      const next = highest + 1
      if (!linked(draft, join(root, `lock.${next}`))) continue
      const rivals = numbers(root)
      if (rivals.some((number) => number > next)) {
        rmSync(join(root, `lock.${next}`), { force: true })
        continue
      }
      for (const number of rivals) {
        if (number < next) rmSync(join(root, `lock.${number}`), { force: true })
      }
      return undefined
    }
  } finally {
    rmSync(draft, { force: true })
  }
}

function numbers(root: string): number[] {
  return readdirSync(root).flatMap((name) => {
    const match = pattern.exec(name)
    return match ? [Number(match[1])] : []
  })
}

function readOwner(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Owner
  } catch {
    // Removed meanwhile by a newer holder, or torn by a crash of the host: nobody's.
    return undefined
  }
}

function isHolding(owner: Owner, bootId: string): boolean {
  return owner.bootId === bootId && isAlive(owner)
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  }
}
