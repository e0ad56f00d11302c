/** Rules of the core that once could be broken without any test's noticing: found by planting, by the rule's number. */
import { type Mutant, unit } from "./mutant.ts"

const changes = unit("consensus/changes")
const diverged = unit("consensus/diverged")
const election = unit("consensus/election")
const flow = unit("consensus/flow")

export const ruleMutants: readonly Mutant[] = [
  {
    id: "C-04",
    what: "pre-votes of an earlier round are counted in the next",
    file: "src/consensus/core.ts",
    find: "    this.votes.clear()\n    this.lead = none\n",
    replace: "    this.lead = none\n",
    tests: election,
  },
  {
    id: "C-13a",
    what: "an acknowledgement past the leader's last entry is counted (then ends the leader)",
    file: "src/consensus/responses.ts",
    find: "if (index > core.log.lastIndex()) {",
    replace: "if (index < 0) {",
    tests: diverged,
  },
  {
    id: "C-13b",
    what: "a member that has diverged is believed again when the leader's log is long enough",
    file: "src/consensus/responses.ts",
    find: "if (progress.diverged) return false",
    replace: "progress.diverged = false",
    tests: diverged,
  },
  {
    id: "C-13c",
    what: "a follower answers an append that contradicts what it has committed",
    file: "src/consensus/follower.ts",
    find: "if (!log.contradictsCommitted(sent)) return",
    replace: "if (log.committed >= 0) return",
    tests: diverged,
  },
  {
    id: "C-13d",
    what: "that a member has diverged is forgotten when others come or go",
    file: "src/consensus/progress.ts",
    find: "    copy.diverged = this.diverged\n",
    replace: "",
    tests: diverged,
  },
  {
    id: "C-17",
    what: "what was answered still weighs on the window",
    file: "src/consensus/progress.ts",
    find: "      this.#bytes -= this.#items[freed]!.bytes\n",
    replace: "",
    tests: flow,
  },
  {
    id: "C-18a",
    what: "what an earlier leadership left uncommitted weighs on the next",
    file: "src/consensus/core.ts",
    find: "    this.uncommittedSize = 0\n",
    replace: "",
    tests: flow,
  },
  {
    id: "C-18b",
    what: "entries that fill the limit of what is being applied exactly do not close it",
    file: "src/consensus/log.ts",
    find: "      this.#applyingSize >= this.#maxApplyingSize ||",
    replace: "      this.#applyingSize > this.#maxApplyingSize ||",
    tests: flow,
  },
  {
    id: "C-18c",
    what: "the limit of what is being applied opens while it is exactly filled",
    file: "src/consensus/log.ts",
    find: "    this.#applyingPaused = this.#applyingSize >= this.#maxApplyingSize",
    replace: "    this.#applyingPaused = this.#applyingSize > this.#maxApplyingSize",
    tests: flow,
  },
  {
    id: "C-19",
    what: "every change of members begins new replication sessions with all of them",
    file: "src/consensus/progress.ts",
    find: "    copy.epoch = this.epoch\n",
    replace: "",
    tests: changes,
  },
  {
    id: "C-34",
    what: "a candidate wins although a refusal taught it of a committed change that it has not applied",
    file: "src/consensus/election.ts",
    find: "  core.log.commitTo(commit)\n  return hasUnappliedConfChange(core)",
    replace: "  core.log.commitTo(commit)\n  return false",
    tests: election,
  },
  {
    id: "C-41a",
    what: "while members change, the half that comes confirms reads alone",
    file: "src/consensus/responses.ts",
    find: "core.reads.confirmed(core.membership.config.voters, core.id)",
    replace:
      "core.reads.confirmed({ ...core.membership.config.voters, outgoing: new Set() }, core.id)",
    tests: changes,
  },
  {
    id: "C-41b",
    what: "while members change, the half that goes confirms reads alone",
    file: "src/consensus/responses.ts",
    find: "core.reads.confirmed(core.membership.config.voters, core.id)",
    replace:
      "core.reads.confirmed(((all) => (all.outgoing.size === 0 ? all : { ...all, incoming: all.outgoing }))(core.membership.config.voters), core.id)",
    tests: changes,
  },
]
