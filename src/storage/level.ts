/** A LevelDB store of strings with its errors in our words. */
import { Level as Database } from "level"
import { TroupeError } from "../schema/index.ts"
import { makeDirectory, storageError } from "./durable.ts"

export type Level = Database
export type LevelSnapshot = ReturnType<Level["snapshot"]>

export async function openLevel(
  directory: string,
  limits: { writeBufferSize?: number; cacheSize?: number } = {},
): Promise<Level> {
  await makeDirectory(directory)
  const level: Level = new Database(directory, { ...limits, keyEncoding: "utf8" })
  try {
    await level.open()
    return level
  } catch (error) {
    throw levelError(directory, error)
  }
}

export function isLocked(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined
  return cause?.code === "LEVEL_LOCKED"
}

/** LevelDB says "not open" and hides the reason in `cause`. */
export function levelError(directory: string, error: unknown): TroupeError {
  if (error instanceof TroupeError) return error
  const outer = error as Error & { code?: string }
  const inner = (outer.cause ?? outer) as Error & { code?: string }
  if (inner.code === "LEVEL_LOCKED") {
    const reason = "another process has it open"
    return new TroupeError(
      "ERR_STORAGE",
      `${directory}: ${reason}`,
      { path: directory, reason },
      { cause: inner },
    )
  }
  // An iterator that outlives its store: closed or replaced meanwhile.
  if (inner.code === "LEVEL_DATABASE_NOT_OPEN" || inner.code === "LEVEL_ITERATOR_NOT_OPEN") {
    return new TroupeError("ERR_STOPPED", `${directory} is closed`, { what: directory })
  }
  return storageError(directory, inner)
}
