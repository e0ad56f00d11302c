/** Processes by /proc: what they weigh, and which keep a data directory. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { join } from "node:path"

export interface Weight {
  readonly rssMB: number
  /** Shared pages counted in parts: what the machine would get back. */
  readonly pssMB: number
}

export function weigh(pids: readonly number[]): Weight {
  let rss = 0
  let pss = 0
  for (const pid of pids) {
    rss += kilobytes(`/proc/${pid}/status`, "VmRSS")
    pss += kilobytes(`/proc/${pid}/smaps_rollup`, "Pss")
  }
  return { rssMB: rss / 1024, pssMB: pss / 1024 }
}

function kilobytes(file: string, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(file, "utf8"))
  return Number(line?.[1] ?? Number.NaN)
}

/** CPU time that they have used, all threads, user and system: neighbours change it far less than wall time. */
export function cpuMs(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")
    ticks += Number(fields[11]) + Number(fields[12])
  }
  // 100 ticks a second on every Linux that Node runs on.
  return ticks * 10
}

/** The keeper of a data directory and its spawners: they stand in its `keeper` folder. */
export function keepersOf(data: string): readonly number[] {
  const place = join(data, "keeper")
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === place
      } catch {
        // Gone, or another user's: not ours.
        return false
      }
    })
}
