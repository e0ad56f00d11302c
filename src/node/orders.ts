/** What a leader's Start carries, checked on arrival. */
import * as z from "zod"
import { Limits, Readiness, StagedFile, Work } from "../schema/index.ts"

/** The launch of one attempt: a process with everything resolved, or a builtin with its work. */
export const StartOrder = z.discriminatedUnion("driver", [
  z.strictObject({
    driver: z.literal("process"),
    argv: z.array(z.string()).min(1),
    env: z.record(z.string(), z.string()),
    cwd: z.string().optional(),
    directory: z.boolean(),
    files: z.array(StagedFile),
    readiness: Readiness.optional(),
    deadlineMs: z.int().positive().optional(),
    graceMs: z.int().nonnegative(),
    onKeeperDeath: z.enum(["survive", "die"]),
    limits: Limits.optional(),
    /** Of an attempt that is moved elsewhere when its node is lost: without a lease for so long it is ended here. */
    selfStopMs: z.int().positive().optional(),
    /** Report `started` and `ready`, since an edge or a view depends on them. */
    progress: z.boolean(),
  }),
  z.strictObject({
    driver: z.literal("builtin"),
    work: Work,
    deadlineMs: z.int().positive().optional(),
  }),
])
export type StartOrder = z.infer<typeof StartOrder>

/** `shard[3]` → group and index. */
export function parseTaskName(name: string): { group: string; index: number } {
  const match = /^(.*)\[(\d+)\]$/.exec(name)
  return match ? { group: match[1]!, index: Number(match[2]) } : { group: name, index: 0 }
}

/** One attempt of one task of one run. */
export function attemptKey(ref: { run: string; task: string; fence: number }): string {
  return `${ref.run}/${ref.task}/${ref.fence}`
}
