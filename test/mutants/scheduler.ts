/** Broken rules of the scheduler: who is promised what, who goes first, who is kept a node. */
import { type Mutant, unit } from "./mutant.ts"

const sharing = unit("scheduler/sharing")

export const schedulerMutants: readonly Mutant[] = [
  {
    id: "S-01",
    what: "placements under way do not count",
    file: "src/scheduler/board.ts",
    find: "    this.nodes.addClaim(node, group.ask.use, 1)\n",
    replace: "",
    tests: sharing,
  },
  {
    id: "S-02",
    what: "reserved cores are not counted",
    file: "src/scheduler/node-board.ts",
    find: 'if (use.cores > 0 && sum.cores + use.cores > member.cores) return "cores"',
    replace: "",
    tests: sharing,
  },
  {
    id: "S-03",
    what: "members under way do not count for `parallel`",
    file: "src/scheduler/run-board.ts",
    find: "this.live + this.claims.size >= parallel",
    replace: "this.live >= parallel",
    tests: sharing,
  },
  {
    id: "S-04",
    what: "a node that gets room again is not looked at",
    file: "src/scheduler/nodes.ts",
    find: "if (sign < 0) this.improved.add(node)",
    replace: "",
    tests: sharing,
  },
  {
    id: "S-05",
    what: "no node is kept for who has waited long",
    file: "src/scheduler/queue.ts",
    find: "this.#hold = { lane, node,",
    replace: "if (now < 0) this.#hold = { lane, node,",
    tests: sharing,
  },
  {
    id: "S-06",
    what: "who has waited long does not go first when there is room",
    file: "src/scheduler/queue.ts",
    find: "if (turn?.isOpen === true && turn.priority",
    replace: "if (turn?.isOpen === false && turn.priority",
    tests: sharing,
  },
  {
    id: "S-07",
    what: "what was refused because of a kept node is not tried again",
    file: "src/scheduler/queue.ts",
    find: "    for (const lane of this.#denied) this.#reopen(lane)\n",
    replace: "",
    tests: sharing,
  },
  {
    id: "S-08",
    what: "the order of runs does not follow the slots that they hold",
    file: "src/scheduler/queue.ts",
    find: "if (this.#entriesOf.has(run)) this.#moved.add(run)",
    replace: "",
    tests: sharing,
  },
  {
    id: "S-09",
    what: "a kept node is refused to what is more urgent",
    file: "src/scheduler/pick.ts",
    find: "  if (lane.priority > hold.lane.priority) return false\n",
    replace: "",
    tests: ["test/transcripts/scheduler/scheduler.test.ts"],
  },
  {
    id: "S-10",
    what: "a node is kept where a service never makes room",
    file: "src/scheduler/pick.ts",
    find: " || node.lackForGood(ask.use) !== undefined) continue",
    replace: ") continue",
    tests: ["test/transcripts/scheduler/scheduler.test.ts"],
  },
]
