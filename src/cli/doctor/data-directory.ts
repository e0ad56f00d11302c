/** The data directory: whose it is, who may read it, which node lives there, and the disk below it. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs"
import { dirname, join } from "node:path"
import { Identity } from "../../schema/index.ts"
import { formatBytes } from "../duration.ts"
import { fail, type Finding, ok, warn } from "./finding.ts"

/** What of the node in a directory is known from outside. */
export interface Place {
  readonly data: string
  /** The nearest directory that is there: the data directory itself, or where it would be made. */
  readonly nearest: string
  /** Process of the node that runs there. */
  readonly owner: number | undefined
}

/** The nearest directory on the way up that exists. */
export function nearestDirectory(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestDirectory(dirname(path))
}

export function checkDirectory({ data, nearest, owner }: Place): Finding[] {
  const check = "data directory"
  try {
    accessSync(nearest, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    const remedy = `run as its owner, or name another one with --data`
    return [fail(check, `${nearest} cannot be written by this user`, remedy)]
  }
  if (nearest !== data) return [ok(check, `${data} will be made in ${nearest}`)]
  const { mode, uid } = statSync(data)
  const others = mode & 0o077
  if (process.getuid && uid !== process.getuid() && process.getuid() !== 0) {
    return [fail(check, `${data} belongs to user ${uid}`, "run as that user")]
  }
  if (others !== 0) {
    const said = `${data} is open to others (mode ${(mode & 0o777).toString(8)})`
    return [warn(check, said, `chmod 700 ${data}`)]
  }
  const whom = owner === undefined ? "no node is running in it" : `process ${owner} runs in it`
  return [ok(check, `${data}, ${whom}`)]
}

export function checkIdentity({ data, nearest }: Place): Finding[] {
  const check = "identity"
  const key = join(data, "identity", "key.ed25519")
  if (nearest !== data || !existsSync(key)) {
    return [ok(check, "none yet: it is made at the first start")]
  }
  const open = statSync(key).mode & 0o077
  if (open !== 0) {
    return [fail(check, `${key} can be read by others`, `chmod 600 ${key}`)]
  }
  const file = join(data, "node.json")
  if (!existsSync(file)) return [ok(check, "has a key, belongs to no cluster yet")]
  try {
    const { clusterId, memberId } = Identity.parse(JSON.parse(readFileSync(file, "utf8")))
    return [ok(check, `member ${memberId} of cluster ${clusterId}`)]
  } catch (error) {
    const remedy = "start the node: it says more, or joins as a new member"
    return [fail(check, `${file} cannot be understood: ${(error as Error).message}`, remedy)]
  }
}

export function checkKeepers({ data }: Place): Finding[] {
  if (!existsSync(data)) return []
  const keepers = readdirSync(data).filter((name) => /^keeper(?:-\d+)?$/.test(name))
  if (keepers.length < 2) return []
  const remedy = "none is needed: it leaves when its jobs are done and forgotten"
  const says = `${keepers.length} keepers: an older one still has jobs from before an update`
  return [warn("keeper", says, remedy)]
}

const spaceFailBytes = 256 << 20
const usedWarn = 0.9
/** statfs(2): file systems whose sync promises nothing. */
const volatile: Readonly<Record<number, string>> = { 0x1021994: "tmpfs", 0x858458f6: "ramfs" }

export function checkSpace({ nearest }: Place): Finding[] {
  const { bavail, blocks, bsize, ffree, files, type } = statfsSync(nearest)
  const free = bavail * bsize
  const all = blocks * bsize
  const findings: Finding[] = []
  const says = `${formatBytes(free)} of ${formatBytes(all)} free`
  const remedy = "make room, or move the data directory with --data"
  if (free < spaceFailBytes) findings.push(fail("disk space", says, remedy))
  else if (free < all * (1 - usedWarn)) {
    findings.push(warn("disk space", `${says}; above 90 % a node takes no attempts`, remedy))
  } else findings.push(ok("disk space", says))
  if (files > 0 && ffree < files * (1 - usedWarn)) {
    findings.push(warn("disk inodes", `${ffree} of ${files} free`, remedy))
  }
  const kind = volatile[type]
  if (kind !== undefined) {
    const gone = `${nearest} is on ${kind}: everything is lost when this machine stops`
    findings.push(warn("file system", gone, "keep the data directory on a disk"))
  }
  return findings
}

const syncs = 20
const recordBytes = 4096

/** As the log does it: small appended writes, each synced. */
export function checkSync({ nearest }: Place, electionMinMs: number): Finding[] {
  const check = "disk sync"
  let times: readonly number[]
  try {
    times = measureSyncs(nearest)
  } catch (error) {
    const remedy = "look at the disk and at the kernel's log"
    return [fail(check, `writing failed: ${(error as Error).message}`, remedy)]
  }
  const sorted = times.toSorted((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0
  const worst = sorted.at(-1) ?? 0
  const says = `median ${middle.toFixed(1)} ms, worst of ${times.length} ${worst.toFixed(1)} ms`
  // An election must be longer than ten times a sync; the node waits longer by itself, and so do its users.
  if (middle * 10 <= electionMinMs) return [ok(check, says)]
  const remedy = "put the data directory on a quicker disk, or choose --preset wan"
  return [warn(check, `${says}; elections and every submit wait for it`, remedy)]
}

function measureSyncs(directory: string): number[] {
  const trial = mkdtempSync(join(directory, ".doctor-"))
  const file = openSync(join(trial, "sync"), "w", 0o600)
  const record = new Uint8Array(recordBytes)
  try {
    return Array.from({ length: syncs }, () => {
      const begin = process.hrtime.bigint()
      writeSync(file, record)
      fdatasyncSync(file)
      return Number(process.hrtime.bigint() - begin) / 1e6
    })
  } finally {
    closeSync(file)
    rmSync(trial, { recursive: true, force: true })
  }
}
