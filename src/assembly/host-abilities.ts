/** What a keeper that is started on this machine by this user can do for its jobs. */
import { type LimitAbilities, limitAbilities, treeKind } from "../keeper/index.ts"

export interface HostAbilities {
  /** What holds a job's processes together. */
  readonly trees: "cgroup2" | "freezer" | "pids" | "session"
  readonly limits: LimitAbilities
}

/** Found out by making cgroups and removing them: some 20 ms. */
export function hostAbilities(): HostAbilities {
  return { trees: treeKind(), limits: limitAbilities() }
}
