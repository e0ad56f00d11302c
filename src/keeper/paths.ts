/** Where the keeper of a data directory keeps its things; node and keeper must agree on all of it. */
import { createHash } from "node:crypto"
import { realpathSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join, resolve } from "node:path"

export interface KeeperPaths {
  readonly root: string
  readonly journal: string
  readonly log: string
  /** Output files of the attempts. */
  readonly out: string
  /** Empty output files that are used again. */
  readonly spare: string
  /** Directories of the attempts that have one. */
  readonly dir: string
  /** Where the others start. */
  readonly work: string
  /** Holds the socket's real path when the usual one is too long. */
  readonly socketPointer: string
}

/** A generation is one more after each update that found jobs running. */
export function keeperPaths(directory: string, generation = 1): KeeperPaths {
  const root = join(resolve(directory), generation === 1 ? "keeper" : `keeper-${generation}`)
  return {
    root,
    journal: join(root, "journal"),
    log: join(root, "keeper.log"),
    out: join(root, "out"),
    spare: join(root, "spare"),
    dir: join(root, "dir"),
    work: join(resolve(directory), "work"),
    socketPointer: join(root, "socket.path"),
  }
}

/** sun_path holds 108 bytes with its closing zero (104 on macOS). */
const socketPathBytesMax = process.platform === "linux" ? 107 : 103

/** `<data>/keeper/socket`, or a short path below the user's runtime directory when that is too long for a socket. */
export function socketPath(
  paths: KeeperPaths,
  runtimeDirectory: string | undefined,
): { path: string; short: boolean } {
  const usual = join(paths.root, "socket")
  if (Buffer.byteLength(usual) <= socketPathBytesMax) return { path: usual, short: false }
  const base = runtimeDirectory ?? tmpdir()
  const name = `${shortHash(realpathSync(paths.root))}.sock`
  return { path: join(base, `troupe-${userInfo().uid}`, name), short: true }
}

/** 16 hex digits that stand for a path. */
export function shortHash(value: string): string {
  return createHash("sha256").update(value).digest("hex").slice(0, 16)
}

export interface AttemptFiles {
  readonly stdout: string
  readonly stderr: string
  readonly directory: string
}

/** Different attempts never share a name: everything but letters, digits, `_` and `-` is escaped. */
export function attemptFiles(
  paths: KeeperPaths,
  attempt: { readonly run: string; readonly task: string; readonly attempt: number },
): AttemptFiles {
  const plain = `${escaped(attempt.run)}.${escaped(attempt.task)}.${attempt.attempt}`
  const name = plain.length <= 200 ? plain : `${plain.slice(0, 180)}.${shortHash(plain)}`
  return {
    stdout: join(paths.out, `${name}.out`),
    stderr: join(paths.out, `${name}.err`),
    directory: join(paths.dir, name),
  }
}

function escaped(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""),
  )
}

/** A relative path inside a directory, or undefined when it would leave it or cannot be a file. */
export function insideOf(directory: string, relative: string): string | undefined {
  if (relative === "" || relative.startsWith("/") || /[\0\\]/.test(relative)) return undefined
  const parts = relative.split("/")
  if (parts.some((part) => part === "" || part === "." || part === "..")) return undefined
  return join(directory, ...parts)
}
