/** The few file operations that the log makes, all synchronous; on a real directory here, on a simulated disk in tests. */
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs"
import { dirname, join } from "node:path"

export interface WalFile {
  /** All of the bytes, or an error. */
  write(bytes: Uint8Array, position: number): void
  datasync(): void
  close(): void
}

export interface WalFiles {
  /** Makes the directory if need be and returns the names in it. */
  list(): readonly string[]
  read(name: string): Uint8Array
  /** A new file; an old one of that name is emptied. */
  create(name: string): WalFile
  open(name: string): WalFile
  rename(from: string, to: string): void
  remove(name: string): void
  syncDirectory(): void
}

export function directoryFiles(directory: string): WalFiles {
  const path = (name: string) => join(directory, name)
  return {
    list() {
      const made = mkdirSync(directory, { recursive: true, mode: 0o700 })
      if (made !== undefined) syncUpTo(directory, dirname(made))
      return readdirSync(directory)
    },
    read: (name) => readFileSync(path(name)),
    create: (name) => openFile(path(name), "w"),
    open: (name) => openFile(path(name), "r+"),
    rename: (from, to) => renameSync(path(from), path(to)),
    remove: (name) => rmSync(path(name)),
    syncDirectory: () => syncDirectory(directory),
  }
}

function openFile(path: string, flags: "w" | "r+"): WalFile {
  const fd = openSync(path, flags, 0o600)
  return {
    write(bytes, position) {
      for (let done = 0; done < bytes.length;) {
        const wrote = writeSync(fd, bytes, done, bytes.length - done, position + done)
        if (wrote === 0) throw new Error(`${path}: nothing could be written`)
        done += wrote
      }
    },
    datasync: () => fdatasyncSync(fd),
    close: () => closeSync(fd),
  }
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r")
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** A new directory is durable when its parent is synced; so each from `directory` up to `top`. */
function syncUpTo(directory: string, top: string): void {
  for (let at = directory; at.length > top.length; at = dirname(at)) syncDirectory(dirname(at))
}
