/** For the bundler: imports through a room's door become imports of the files behind it, so that a chunk holds only what
 *  it uses. (esbuild splits by files reached, and a door reaches its whole room.) */
import { readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import type { Plugin } from "esbuild"

const importPattern = /^import (type )?\{([^}]*)\} from "(\.[^"]*\/index\.ts)"$/gm
const listPattern = /^export (type )?\{([^}]*)\} from "(\.[^"]+)"$/gm
const starPattern = /^export \* from "(\.[^"]+)"$/gm
const declarationPattern =
  /^export (?:abstract )?(?:async )?(?:const|class|function\*?|interface|type|let) ([\w$]+)/gm

export function doorsOpened(root: string): Plugin {
  const doors = new Map<string, ReadonlyMap<string, string>>()
  const namesOf = (door: string) => {
    const known = doors.get(door) ?? readDoor(door)
    doors.set(door, known)
    return known
  }
  return {
    name: "doors-opened",
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!path.startsWith(join(root, "src/"))) return undefined
        const text = readFileSync(path, "utf8")
        const contents = text.replace(
          importPattern,
          (whole, type: string | undefined, list, door) =>
            type === undefined ? opened(path, { list, door, whole }, namesOf) : whole,
        )
        return { contents, loader: "ts" }
      })
    },
  }
}

/** The import by the files that its names come from; as it was when a name cannot be followed. */
function opened(
  importer: string,
  statement: { list: string; door: string; whole: string },
  namesOf: (door: string) => ReadonlyMap<string, string>,
): string {
  const names = namesOf(join(dirname(importer), statement.door))
  const byFile = new Map<string, string[]>()
  for (const item of items(statement.list)) {
    const file = names.get(item.replace(/^type /, "").split(" as ")[0]!)
    if (file === undefined) return statement.whole
    byFile.set(file, [...(byFile.get(file) ?? []), item])
  }
  return [...byFile]
    .map(([file, parts]) => {
      const path = relative(dirname(importer), file)
      const specifier = path.startsWith(".") ? path : `./${path}`
      return `import { ${parts.join(", ")} } from "${specifier}"`
    })
    .join("\n")
}

/** Name → absolute file. A renaming door is left alone. */
function readDoor(door: string): ReadonlyMap<string, string> {
  const text = readFileSync(door, "utf8")
  const names = new Map<string, string>()
  for (const [, , list, file] of text.matchAll(listPattern)) {
    for (const item of items(list!)) {
      const name = item.replace(/^type /, "")
      if (!name.includes(" as ")) names.set(name, join(dirname(door), file!))
    }
  }
  for (const [, file] of text.matchAll(starPattern)) {
    const target = join(dirname(door), file!)
    for (const [, name] of readFileSync(target, "utf8").matchAll(declarationPattern)) {
      names.set(name!, target)
    }
  }
  return names
}

function items(list: string): string[] {
  return list
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "")
}
