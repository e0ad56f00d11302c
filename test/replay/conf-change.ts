/** Replays configuration transcripts: `simple`, `enter-joint`, `leave-joint` on one membership. */
import {
  type Changer,
  ConfChangeError,
  describeConfig,
  emptyMembership,
  enterJoint,
  leaveJoint,
  type Membership,
  simple,
} from "../../src/consensus/membership.ts"
import type { ConfChange } from "../../src/consensus/index.ts"
import { type Directive, isSet } from "./datadriven.ts"

const kinds = {
  v: "ConfChangeAddNode",
  l: "ConfChangeAddLearnerNode",
  r: "ConfChangeRemoveNode",
  u: "ConfChangeUpdateNode",
} as const

/** `v1 l2 r3 u4`; otherwise what is wrong with it. */
export function parseChanges(text: string): ConfChange["changes"] | string {
  const changes: ConfChange["changes"][number][] = []
  for (const word of text.split(/\s+/).filter((part) => part !== "")) {
    const type = kinds[word[0] as keyof typeof kinds]
    const id = Number(word.slice(1))
    if (word.length < 2) return `unknown token ${word}`
    if (type === undefined) return `unknown input: ${word}`
    if (!Number.isInteger(id)) return `not a number: ${word}`
    changes.push({ type, id })
  }
  return changes
}

/** Back to `v1 l2 r3 u4`. */
export function describeChanges(changes: ConfChange["changes"]): string {
  const letters = new Map(Object.entries(kinds).map(([letter, type]) => [type, letter]))
  return changes.map(({ type, id }) => `${letters.get(type)}${id}`).join(" ")
}

/** One transcript's membership. The last index grows by one with every command. */
export function createConfChangeReplay(): (directive: Directive) => string {
  let membership = emptyMembership
  let lastIndex = 0
  return (directive) => {
    const limits = { maxInflightMsgs: 10, maxInflightBytes: Infinity }
    const from: Changer = { membership, lastIndex: lastIndex++, limits }
    try {
      const changed = change(from, directive)
      if (typeof changed === "string") return changed
      membership = changed
    } catch (error) {
      if (error instanceof ConfChangeError) return error.message
      throw error
    }
    const progress = [...membership.progress].map(([id, member]) => `${id}: ${member.describe()}`)
    return [describeConfig(membership.config), ...progress].join("\n")
  }
}

function change(from: Changer, directive: Directive): Membership | string {
  const changes = parseChanges(directive.input)
  if (typeof changes === "string") return changes
  switch (directive.command) {
    case "simple":
      return simple(from, changes)
    case "enter-joint":
      return enterJoint(from, { changes, autoLeave: isSet(directive, "autoleave") })
    case "leave-joint":
      return changes.length > 0 ? "this command takes no input" : leaveJoint(from)
    default:
      return "unknown command"
  }
}
