/** keeper: the supervisor of a data directory's jobs, and the client of its socket. */
import { type CgroupKind, findCgroups } from "./cgroups.ts"
import { KeeperClient, type KeeperOptions } from "./client.ts"
import { findShell } from "./command.ts"
import { findLimits, type LimitAbilities } from "./limits.ts"

export { hasTool } from "./command.ts"
export type { LimitAbilities, LimitName } from "./limits.ts"
export { keeperCommand } from "./launcher.ts"
export type { KeeperClient, KeeperOptions } from "./client.ts"
export type { KeeperStatus } from "./protocol.ts"

/** The client. It starts the keeper when none answers, and connects again by itself; calls fail with ERR_KEEPER
 *  meanwhile. `shutdown()` makes an idle keeper leave at once; else it leaves 15 s after its last client. */
export function createKeeper(options: KeeperOptions): KeeperClient {
  return new KeeperClient(options)
}

/** What would hold a job's processes together. */
export function treeKind(): CgroupKind | "session" {
  const cgroups = findCgroups(`troupe-look-${process.pid}`)
  cgroups?.close()
  return cgroups?.cage.kind ?? "session"
}

/** Which limits a keeper that is started from this process could enforce, found out by making cgroups and removing them. */
export function limitAbilities(): LimitAbilities {
  const limits = findLimits(`troupe-look-${process.pid}`, findShell())
  limits.close()
  return limits.abilities
}
