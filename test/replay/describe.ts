/** Entries, messages and Ready blocks as transcripts print them. */
import {
  appendThread,
  applyThread,
  type ConfState,
  decodeConfChange,
  type Entry,
  type HardState,
  type Id,
  type Message,
  none,
  type Ready,
  type Snapshot,
} from "../../src/consensus/index.ts"
import { describeChanges } from "./conf-change.ts"

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

function target(id: Id): string {
  if (id === none) return "None"
  if (id === appendThread) return "AppendThread"
  if (id === applyThread) return "ApplyThread"
  return id.toString(16)
}

function describeEntry(entry: Entry): string {
  const what =
    entry.type === "EntryNormal"
      ? JSON.stringify(textOf(entry.data))
      : describeChanges(decodeConfChange(entry.data).changes)
  return `${entry.term}/${entry.index} ${entry.type}${what === "" ? "" : ` ${what}`}`
}

export function describeEntries(entries: readonly Entry[]): string {
  return entries.map((entry) => `${describeEntry(entry)}\n`).join("")
}

function list(ids: readonly Id[]): string {
  return `[${ids.join(" ")}]`
}

function describeConfState(state: ConfState): string {
  return `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} Learners:${list(state.learners)} LearnersNext:${list(state.learnersNext)} AutoLeave:${state.autoLeave}`
}

function describeSnapshot({ meta }: Snapshot): string {
  return `Index:${meta.index} Term:${meta.term} ConfState:${describeConfState(meta.confState)}`
}

function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === none ? "" : ` Vote:${vote}`} Commit:${commit}`
}

/** Several lines when it carries several entries, a snapshot or responses. */
export function describeMessage(message: Message, indent = ""): string {
  const { from, to, type, term = 0, logTerm = 0, index = 0, entries = [] } = message
  let text = `${indent}${target(from)}->${target(to)} ${type} Term:${term} Log:${logTerm}/${index}`
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint ?? 0})`
  if (message.commit) text += ` Commit:${message.commit}`
  if (message.vote) text += ` Vote:${message.vote}`
  if (entries.length === 1) {
    text += ` Entries:[${describeEntry(entries[0]!)}]`
  } else if (entries.length > 1) {
    const lines = entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`)
    text += ` Entries:[${lines.join("")}\n${indent}]`
  }
  const { snapshot } = message
  if (snapshot && snapshot.meta.index > 0) {
    text += `\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`
  }
  const responses = message.responses ?? []
  if (responses.length > 0) {
    const lines = responses.map((response) => `\n${describeMessage(response, `${indent}  `)}`)
    text += ` Responses:[${lines.join("")}\n${indent}]`
  }
  return text
}

export function describeReady(ready: Ready): string {
  let text = ""
  if (ready.softState) {
    text += `Lead:${ready.softState.lead} State:${ready.softState.raftState}\n`
  }
  if (ready.hardState) text += `HardState ${describeHardState(ready.hardState)}\n`
  if (ready.readStates.length > 0) {
    const states = ready.readStates.map(
      ({ index, context }) => `{${index} [${[...context].join(" ")}]}`,
    )
    text += `ReadStates [${states.join(" ")}]\n`
  }
  if (ready.entries.length > 0) text += `Entries:\n${describeEntries(ready.entries)}`
  if (ready.snapshot) text += `Snapshot ${describeSnapshot(ready.snapshot)}\n`
  if (ready.committedEntries.length > 0) {
    text += `CommittedEntries:\n${describeEntries(ready.committedEntries)}`
  }
  if (ready.messages.length > 0) {
    text += `Messages:\n${ready.messages.map((message) => `${describeMessage(message)}\n`).join("")}`
  }
  return text === "" ? "<empty Ready>" : `Ready MustSync=${ready.mustSync}:\n${text}`
}
