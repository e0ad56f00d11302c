/** What is known of a log outside of it: whose it is and its newest segment, so that a log that was lost is missed. */
import { crc32 } from "node:zlib"
import type { WalFiles } from "./wal-files.ts"
import { WalCorruption } from "./wal-format.ts"

export interface LogManifest {
  readonly clusterId: string
  readonly memberId: number
  /** The log had this segment, or has a newer one: the name comes first, then this. */
  readonly segment: number
}

export const manifestName = "log.json"
const temporaryName = "log.json.tmp"

/** The manifest in a directory; undefined when no log was ever made under this identity. */
export function readManifest(files: WalFiles): LogManifest | undefined {
  if (!files.list().includes(manifestName)) return undefined
  const text = Buffer.from(files.read(manifestName)).toString("utf8")
  const [body = "", sum = ""] = text.split("\n")
  if (sum !== sumOf(body)) {
    throw new WalCorruption(manifestName, 0, "the record of the log's newest segment is damaged")
  }
  return JSON.parse(body) as LogManifest
}

/** Whole or not at all, and durable when it returns. */
export function writeManifest(files: WalFiles, manifest: LogManifest): void {
  const { clusterId, memberId, segment } = manifest
  const body = JSON.stringify({ clusterId, memberId, segment })
  const file = files.create(temporaryName)
  file.write(Buffer.from(`${body}\n${sumOf(body)}\n`), 0)
  file.datasync()
  file.close()
  files.rename(temporaryName, manifestName)
  files.syncDirectory()
}

function sumOf(body: string): string {
  return crc32(Buffer.from(body)).toString(16).padStart(8, "0")
}
