/** Bugs of the node around the core: its driver, its tables, its membership, its worker. */
import { type Mutant, unit } from "./mutant.ts"

export const nodeMutants: readonly Mutant[] = [
  {
    id: "B-26a",
    what: "a cluster is founded twice",
    file: "src/state/members.ts",
    find: 'if (draft.cluster !== undefined) return stale("the cluster is founded already")',
    replace: "",
    checks: unit("state/members"),
  },
  {
    id: "B-26b",
    what: "a cluster that has accepted work dissolves into another (consul#4074)",
    file: "src/state/members.ts",
    find: "if (!cluster.pristine) {",
    replace: "if (cluster.clusterId === item.into) {",
    checks: unit("state/members"),
  },
  {
    id: "B-31",
    what: "a retried command is applied twice (redisraft#13)",
    file: "src/state/runs.ts",
    find: 'if (submitted.key !== "" && known !== undefined) {',
    replace: "if (known !== undefined && known.bodyHash !== submitted.bodyHash) {",
    checks: unit("state/runs"),
  },
]
