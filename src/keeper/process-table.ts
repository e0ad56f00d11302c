/** Who a process is: pids wrap within minutes, so a process is its boot, pid and start time together. */
import { readdirSync, readFileSync } from "node:fs"
import { uptime } from "node:os"

export interface ProcessId {
  readonly pid: number
  /** Start time in clock ticks since boot, as the kernel prints it. */
  readonly ticks: string
}

export interface ProcessStat extends ProcessId {
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly session: number
}

/** Different after every boot of the host. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
}

// What the kernel counts start times in for everybody who asks (USER_HZ), on every Linux that Node runs on.
const ticksPerSecond = 100

/** When a process of this boot was started: `now` (wall clock, ms) less its age; right to some 20 ms. */
export function startTimeOf(id: ProcessId, now: number): number {
  const ageMs = uptime() * 1000 - (Number(id.ticks) * 1000) / ticksPerSecond
  return Math.round(now - Math.max(0, ageMs))
}

/** Undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  let line: string
  try {
    line = readFileSync(`/proc/${pid}/stat`, "latin1")
  } catch {
    // ENOENT or ESRCH: gone, also when it goes while it is read.
    return undefined
  }
  return parseStat(line)
}

/** The command name may hold spaces and brackets: fields are counted from its last closing one. */
export function parseStat(line: string): ProcessStat | undefined {
  const pid = Number.parseInt(line, 10)
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ")
  const [state, parent, group, session] = fields
  const ticks = fields[19]
  if (!Number.isSafeInteger(pid) || !state || !ticks) return undefined
  return {
    pid,
    ticks,
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
  }
}

/** A zombie counts as dead: nothing of it runs any more. */
export function isAlive(id: ProcessId): boolean {
  const stat = readStat(id.pid)
  return stat !== undefined && stat.ticks === id.ticks && !isDead(stat)
}

function isDead(stat: ProcessStat): boolean {
  return stat.state === "Z" || stat.state === "X" || stat.state === "x"
}

/** Every live process but this one. */
export function listProcesses(): ProcessStat[] {
  const found: ProcessStat[] = []
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const stat = readStat(Number(name))
    if (stat && stat.pid !== process.pid && !isDead(stat)) found.push(stat)
  }
  return found
}

const nonceMark = Buffer.from("TROUPE_NONCE=")

/** The nonce that a process was started with; undefined when it has none or is not ours to read. */
export function readNonce(pid: number): string | undefined {
  let environment: Buffer
  try {
    environment = readFileSync(`/proc/${pid}/environ`)
  } catch {
    // Gone, or of another user: then it is no job of this keeper.
    return undefined
  }
  let at = environment.indexOf(nonceMark)
  while (at > 0 && environment[at - 1] !== 0) at = environment.indexOf(nonceMark, at + 1)
  if (at < 0) return undefined
  const end = environment.indexOf(0, at)
  return environment.toString("latin1", at + nonceMark.length, end < 0 ? undefined : end)
}

/** Signals a process if it still is the one that was meant; false when it did not get it. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals): boolean {
  if (!isAlive(id)) return false
  try {
    process.kill(id.pid, signal)
    return true
  } catch (error) {
    // It went between the look and the kill, or it changed its user and is out of our reach: then it stays a member.
    const { code } = error as NodeJS.ErrnoException
    if (code === "ESRCH" || code === "EPERM") return false
    throw error
  }
}
