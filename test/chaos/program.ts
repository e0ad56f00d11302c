/** The program under test: a bundle of a copy of the sources, so that neither edits nor a planted bug meet running nodes. */
import { execFile, execFileSync } from "node:child_process"
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"

const root = new URL("../..", import.meta.url).pathname
const copied = ["src", "scripts", "package.json", "tsconfig.json"]

/** A bug as a change of text: it stands in the file exactly once. */
export interface Planted {
  readonly what: string
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Program {
  /** To run with node. */
  readonly file: string
  /** The sources that it was made of. */
  readonly sources: string
}

/** Writes the program into `directory`, of the working tree or of a commit. */
export async function buildProgram(
  directory: string,
  options: { readonly bugs?: readonly Planted[]; readonly commit?: string | undefined } = {},
): Promise<Program> {
  const { bugs = [], commit } = options
  mkdirSync(directory, { recursive: true })
  if (commit === undefined) {
    for (const name of copied) {
      cpSync(join(root, name), join(directory, name), { recursive: true })
    }
  } else {
    const archive = execFileSync("git", ["archive", commit, ...copied], {
      cwd: root,
      maxBuffer: 2 ** 28,
    })
    execFileSync("tar", ["-x"], { cwd: directory, input: archive })
  }
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  for (const { file, find, replace } of bugs) {
    const path = join(directory, file)
    const text = readFileSync(path, "utf8")
    const places = text.split(find).length - 1
    if (places !== 1) throw new Error(`${places} places in ${file} read\n${find}`)
    writeFileSync(
      path,
      text.replace(find, () => replace),
    )
  }
  const out = join(directory, "dist")
  await promisify(execFile)(process.execPath, ["scripts/build.ts", "--out", out], {
    cwd: directory,
  })
  return { file: join(out, "troupe.js"), sources: join(directory, "src") }
}
