/** Keepers of several builds beside each other: after an update the old one keeps its jobs, a new one gets the new. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { resolve } from "node:path"
import { Book } from "./book.ts"
import { type JournalRecord, readJournal } from "./journal.ts"
import { keeperPaths } from "./paths.ts"

/** Numbers of the generations that a data directory holds, in order. */
export function generationsIn(directory: string): number[] {
  let names: string[]
  try {
    names = readdirSync(resolve(directory))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
  return names
    .flatMap((name) => {
      const match = /^keeper(?:-([1-9]\d{0,8}))?$/.exec(name)
      return match ? [Number(match[1] ?? 1)] : []
    })
    .toSorted((a, b) => a - b)
}

/** Tells two builds of the keeper apart: by its program as it lies on the disk. */
export function buildOf(program: string): string {
  return createHash("sha256").update(readFileSync(program)).digest("hex").slice(0, 16)
}

/** What a new generation must know of those before it: which cluster, and which fences were used. Its own journal begins
 *  with this. */
export function heritageOf(directory: string, generation: number): JournalRecord[] {
  const older = generationsIn(directory).filter((number) => number < generation)
  return older.flatMap((number) => readBook(directory, number).heritage())
}

/** As the journal tells it now; its keeper may be writing. */
export function readBook(directory: string, generation: number): Book {
  const book = new Book()
  for (const record of readJournal(keeperPaths(directory, generation).journal).records) {
    book.apply(record)
  }
  return book
}
