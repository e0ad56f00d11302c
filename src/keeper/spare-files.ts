/** Empty output files that are used again: most jobs write little or nothing, and making a file costs far more than
 *  renaming one. */
import { mkdirSync, readdirSync, renameSync, statSync, unlinkSync } from "node:fs"
import { join } from "node:path"

/** As many as jobs may run at once on a large host, twice. */
const sparesMax = 512

export class SpareFiles {
  readonly #folder: string
  readonly #free: string[] = []
  #made = 0

  /** Makes the folder; what an earlier keeper left there is used. */
  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (statSync(path).size === 0 && this.#free.length < sparesMax) this.#free.push(path)
      else unlinkSync(path)
    }
    this.#made = Math.max(
      0,
      ...this.#free.map((path) => Number(path.slice(folder.length + 1)) || 0),
    )
  }

  /** How many wait. */
  get count(): number {
    return this.#free.length
  }

  /** An empty file with this name, if there is a spare one; otherwise whoever opens it makes it. */
  lend(path: string): void {
    const spare = this.#free.pop()
    if (spare === undefined) return
    try {
      renameSync(spare, path)
    } catch {
      // Gone, or its folder is: the file is made like any other.
    }
  }

  /** Takes back a file that is empty and that nobody holds any more; one with content stays where it is. */
  takeBack(path: string): void {
    const found = statSync(path, { throwIfNoEntry: false })
    if (!found?.isFile() || found.size > 0) return
    if (this.#free.length >= sparesMax) return unlinkSync(path)
    const spare = join(this.#folder, String(++this.#made))
    renameSync(path, spare)
    this.#free.push(spare)
  }
}
