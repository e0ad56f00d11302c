/** What a job's program is and what stands in its environment; every mistake is named before anything starts. */
import { accessSync, constants, statSync } from "node:fs"
import { isAbsolute, join, resolve } from "node:path"

export interface Command {
  /** Absolute path of the program. */
  readonly file: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

const inherited = ["PATH", "HOME", "LANG", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"]
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** The clean environment that every job begins with: nothing of the node's own settings or secrets. */
export function baseEnvironment(
  own: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const base: Record<string, string> = { PATH: usualPath }
  for (const name of inherited) {
    const value = own[name]
    if (value) base[name] = value
  }
  return base
}

/** The program by PATH and the directory to start in, or one sentence why it cannot start. */
export function findCommand(
  program: string,
  cwd: string,
  env: Readonly<Record<string, string>>,
): Command | { readonly problem: string } {
  const place = statOf(cwd)
  if (!place) return { problem: `the working directory ${cwd} does not exist` }
  if (!place.isDirectory()) return { problem: `the working directory ${cwd} is not a directory` }
  if (program === "") return { problem: "the command is empty" }
  if (program.includes("/")) return check(resolve(cwd, program), { cwd, env })
  let refused: { readonly problem: string } | undefined
  const search = env["PATH"] ?? ""
  for (const directory of search.split(":")) {
    const file = join(isAbsolute(directory) ? directory : resolve(cwd, directory), program)
    const found = check(file, { cwd, env })
    if (!("problem" in found)) return found
    if (statOf(file)?.isFile()) refused ??= found
  }
  return refused ?? { problem: `command not found: ${program} (PATH is ${search || "empty"})` }
}

/** The shell that sets limits. */
export function findShell(): string | undefined {
  const command = findCommand("sh", "/", baseEnvironment(process.env))
  return "problem" in command ? undefined : command.file
}

/** Whether a job could start this program by its name. */
export function hasTool(program: string, path: string): boolean {
  return !("problem" in findCommand(program, "/", { PATH: path }))
}

function check(file: string, rest: Omit<Command, "file">): Command | { readonly problem: string } {
  const stat = statOf(file)
  if (!stat) return { problem: `command not found: ${file}` }
  if (!stat.isFile()) return { problem: `not a program: ${file}` }
  try {
    accessSync(file, constants.X_OK)
  } catch {
    return { problem: `not executable: ${file}` }
  }
  return { file, ...rest }
}

function statOf(path: string): ReturnType<typeof statSync> {
  try {
    return statSync(path)
  } catch {
    // Whatever hides it (ENOENT, EACCES, ENOTDIR), it cannot be run.
    return undefined
  }
}
