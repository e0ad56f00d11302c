/** What others say of histories: labels.json beside or above the files, or "ok" and "bad" in their names. */
import { existsSync, readFileSync } from "node:fs"
import { basename, dirname, join, relative, sep } from "node:path"

export type Label = "ok" | "bad"

/** A labels file that cannot be used. */
export class LabelsError extends Error {
  override readonly name = "LabelsError"
}

/** The words of labels.json. */
const meanings: Readonly<Record<string, Label>> = { true: "ok", false: "bad", ok: "ok", bad: "bad" }

/** The labels of the files below `root`. */
export class Labels {
  readonly #root: string
  readonly #ofDirectory = new Map<string, ReadonlyMap<string, Label>>()

  constructor(root: string) {
    this.#root = root
  }

  /** The nearest labels.json that names the file wins over the file's own name. Throws once for a broken one. */
  labelOf(file: string): Label | undefined {
    for (let directory = dirname(file); ; directory = dirname(directory)) {
      const label = this.#read(directory).get(relative(directory, file).replaceAll(sep, "/"))
      if (label !== undefined) return label
      if (directory === this.#root || directory === dirname(directory)) break
    }
    return labelOfName(basename(file))
  }

  #read(directory: string): ReadonlyMap<string, Label> {
    const known = this.#ofDirectory.get(directory)
    if (known) return known
    this.#ofDirectory.set(directory, new Map())
    const labels = readLabels(join(directory, "labels.json"))
    this.#ofDirectory.set(directory, labels)
    return labels
  }
}

function labelOfName(name: string): Label | undefined {
  const words = name.toLowerCase().split(/[^a-z]+/)
  const isOk = words.includes("ok")
  if (isOk === words.includes("bad")) return undefined
  return isOk ? "ok" : "bad"
}

function readLabels(path: string): ReadonlyMap<string, Label> {
  if (!existsSync(path)) return new Map()
  let labels: unknown
  try {
    labels = JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw new LabelsError(`${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (typeof labels !== "object" || labels === null || Array.isArray(labels)) {
    throw new LabelsError(`${path}: expected an object from file names to labels`)
  }
  return new Map(
    Object.entries(labels).map(([name, value]) => {
      const label = Object.hasOwn(meanings, String(value)) ? meanings[String(value)] : undefined
      if (label === undefined) throw new LabelsError(`${path}: ${name} is neither true nor false`)
      return [name, label]
    }),
  )
}
