/** apply: one committed entry over the tables. Pure and total; it reads and writes only rows that the entry names. */
import { drain, failUnplaceable, giveUp, report } from "./attempts.ts"
import { Draft } from "./draft.ts"
import * as members from "./members.ts"
import { checkpoint } from "./checkpoint.ts"
import { assign } from "./placing.ts"
import { collect, pin } from "./retention.ts"
import { retry } from "./retry.ts"
import { cancel, submit, timeOut } from "./runs.ts"
import type { Applied, AppliedEntry, Command, CommandType, ItemResult, View } from "./types.ts"
import { raise } from "./versions.ts"

type Appliers = {
  readonly [Type in CommandType]: (
    draft: Draft,
    item: Extract<Command, { type: Type }>["items"][number],
    place: number,
  ) => ItemResult
}

const appliers: Appliers = {
  genesis: members.found,
  admit: members.admit,
  readmit: members.readmit,
  declare: members.declare,
  role: members.setRole,
  session: members.setSession,
  dissolve: members.dissolve,
  submit,
  assign,
  report,
  decide(draft, item) {
    if (item.kind === "run-timeout") return timeOut(draft, item.run)
    if (item.kind === "unplaceable") return failUnplaceable(draft, item.task, item.reason)
    if (item.kind === "drained") return drain(draft, item)
    return giveUp(draft, item)
  },
  cancel: (draft, item) => cancel(draft, item.run, item.reason),
  remove: members.remove,
  expel: members.expel,
  supersede: members.supersede,
  raise,
  pin,
  collect,
  checkpoint,
  retry,
  cordon: members.cordon,
  dead: members.declareDead,
}

/** Items in order, each on what the ones before it left. An item that is stale or invalid changes nothing and says so
 *  in its result. The same view and entry give the same writes in the same order, on every node. */
export function apply(view: View, entry: AppliedEntry): Applied {
  const draft = new Draft(view, entry)
  const { type, items } = entry.command
  const applier = appliers[type] as (draft: Draft, item: unknown, place: number) => ItemResult
  const results = items.map((item, place) => applier(draft, item, place))
  return { ...draft.finish(), results }
}
