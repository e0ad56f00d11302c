/** What this machine offers for hurting nodes: which kinds of faults can be made, and what the others lack. */
import { execFileSync } from "node:child_process"
import { existsSync, globSync } from "node:fs"

export const faultKinds = [
  "kill",
  "stop",
  "partition",
  "oneway",
  "slowdisk",
  "clock",
  "fulldisk",
  "wipe",
  "term",
  "transfer",
  "keeper",
] as const
export type FaultKind = (typeof faultKinds)[number]

/** Debian's place of the library, whatever the architecture. */
export function faketimeLibrary(): string | undefined {
  return globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")[0]
}

function isThere(command: string): boolean {
  const directories = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`.split(":")
  return directories.some((directory) => existsSync(`${directory}/${command}`))
}

function mayTrace(): boolean {
  if (!isThere("strace")) return false
  try {
    execFileSync("strace", ["-qq", "-e", "inject=fdatasync:delay_exit=1", "true"], {
      stdio: ["ignore", "ignore", "ignore"],
    })
    return true
  } catch {
    // Refused here, as in some containers.
    return false
  }
}

/** The kinds that were asked for and can be made; `lack` says what the others would need. */
export function possibleFaults(wanted: readonly FaultKind[]): {
  readonly kinds: readonly FaultKind[]
  readonly lack: readonly string[]
} {
  const needs: Partial<Record<FaultKind, readonly [boolean, string]>> = {
    partition: [isThere("nft"), "nft (Debian: nftables)"],
    oneway: [isThere("nft"), "nft (Debian: nftables)"],
    slowdisk: [mayTrace(), "strace, and leave to trace"],
    clock: [faketimeLibrary() !== undefined, "libfaketime (Debian: libfaketime)"],
    fulldisk: [isThere("mount") && isThere("fallocate"), "mount and fallocate"],
  }
  const lack = wanted.flatMap((kind) => {
    const need = needs[kind]
    return need === undefined || need[0] ? [] : [`no ${kind}: it needs ${need[1]}`]
  })
  return { kinds: wanted.filter((kind) => needs[kind]?.[0] ?? true), lack }
}
