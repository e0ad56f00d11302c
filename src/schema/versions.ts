/** Versions of log entries and replicated rows: which of them a build understands, and how a member says so. */
import * as z from "zod"

/** Both ends included. */
export const VersionRange = z.strictObject({ oldest: z.int(), newest: z.int() })
export type VersionRange = z.infer<typeof VersionRange>

/** What this source tree understands. 1: the first. 2: members say what they understand in a field of their own;
 *  runs are pinned and collected, keys expire, replicas compare their rows. 3: jobs, runs that repeat others, limits of
 *  parallel members, fail-fast, nodes that are cordoned, drained or declared dead, jitter of backoffs. */
export const knownVersions: VersionRange = { oldest: 1, newest: 3 }

/** Version 1 has no field for it, so a declaration carries the range as a label, which every build hands on. */
export const versionsLabel = "troupe.versions"

export function versionsText({ oldest, newest }: VersionRange): string {
  return `${oldest}-${newest}`
}

/** A build from before versions were said understands the first. */
export function parseVersions(text: string | undefined): VersionRange {
  const match = /^(\d{1,9})-(\d{1,9})$/.exec(text ?? "")
  return match ? { oldest: Number(match[1]), newest: Number(match[2]) } : { oldest: 1, newest: 1 }
}

export function understands(range: VersionRange, version: number): boolean {
  return range.oldest <= version && version <= range.newest
}
