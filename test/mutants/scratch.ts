/** A copy of the sources and tests in a temporary directory, in which a bug may stand for a while. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mutate, type Mutant } from "./mutant.ts"

const root = new URL("../..", import.meta.url).pathname
const copied = ["src", "test", "config", "package.json", "tsconfig.json"]

export interface Scratch {
  readonly directory: string
  /** The bug is there while `run` runs. */
  withBug<T>(mutant: Mutant, run: () => Promise<T>): Promise<T>
  remove(): Promise<void>
}

export async function createScratch(): Promise<Scratch> {
  const directory = await mkdtemp(join(tmpdir(), "troupe-mutants-"))
  for (const name of copied) {
    await cp(join(root, name), join(directory, name), { recursive: true })
  }
  await symlink(join(root, "node_modules"), join(directory, "node_modules"))
  return {
    directory,
    async withBug(mutant, run) {
      const path = join(directory, mutant.file)
      const sound = await readFile(path, "utf8")
      await writeFile(path, mutate(sound, mutant))
      try {
        return await run()
      } finally {
        await writeFile(path, sound)
      }
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}

/** The working tree's own text of a file. */
export async function sourceText(file: string): Promise<string> {
  return await readFile(join(root, file), "utf8")
}
