/** One process at a time uses a data directory. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { TroupeError } from "../schema/index.ts"
import { removeTree, writeDurably } from "./durable.ts"
import { isLocked, openLevel, type Level } from "./level.ts"

interface Owner {
  readonly pid: number
  readonly startTime: string
}

/**
 * Locks a data directory until unlocked or until this process ends; ERR_STORAGE names the process that has it.
 * Node has no flock, but LevelDB holds a lock of the kernel on its files: taken without a race, let go with its process
 * however that ends, and valid across pid namespaces, where a pid in a file would name nobody or somebody else.
 */
export async function lockDirectory(directory: string): Promise<{ unlock(): Promise<void> }> {
  const store = join(directory, "lock")
  const ownerFile = join(directory, "lock.json")
  const level = await take(store, directory, ownerFile)
  const owner: Owner = { pid: process.pid, startTime: await startTime(process.pid) }
  try {
    await writeDurably(ownerFile, JSON.stringify(owner))
  } catch (error) {
    await level.close()
    throw error
  }
  return {
    async unlock() {
      await removeTree(ownerFile)
      await level.close()
    },
  }
}

async function take(store: string, directory: string, ownerFile: string): Promise<Level> {
  const limits = { writeBufferSize: 64 * 1024, cacheSize: 0 }
  try {
    return await openLevel(store, limits)
  } catch (error) {
    if (!isLocked(error)) throw error
    const reason = `${await nameOwner(ownerFile)} uses this data directory`
    throw new TroupeError(
      "ERR_STORAGE",
      `${directory}: ${reason}; give the second node a --data of its own`,
      { path: directory, reason },
      { cause: error },
    )
  }
}

/** The file is a help to people only: the lock may have changed hands since it was written. */
async function nameOwner(ownerFile: string): Promise<string> {
  try {
    const owner = JSON.parse(await readFile(ownerFile, "utf8")) as Owner
    if ((await startTime(owner.pid)) === owner.startTime) return `process ${owner.pid}`
  } catch {
    // No file yet, or of a process that is gone.
  }
  return "another process"
}

/** Clock ticks after boot; tells a process from a later one with its pid. Empty where there is no /proc. */
async function startTime(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8")
    // Fields are counted after the command's name, which may hold anything: start time is the 22nd.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  } catch {
    return isAlive(pid) ? "" : "gone"
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
