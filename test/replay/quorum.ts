/** Replays quorum transcripts: `committed` and `vote` over a majority or a joint pair. */
import {
  jointCommitted,
  jointVote,
  majorityCommitted,
  majorityVote,
} from "../../src/consensus/quorum.ts"
import { type Directive, valuesOf } from "./datadriven.ts"

interface Case {
  readonly incoming: ReadonlySet<number>
  readonly outgoing: ReadonlySet<number>
  readonly isJoint: boolean
  /** Voters of both halves in the order named, without repetition. */
  readonly ids: readonly number[]
}

export function replayQuorum(directive: Directive): string {
  const incoming = valuesOf(directive, "cfg").map(Number)
  const joint = directive.args.find((arg) => arg.key === "cfgj")
  const outgoing = (joint?.values ?? []).filter((value) => value !== "zero").map(Number)
  const quorum: Case = {
    incoming: new Set(incoming),
    outgoing: new Set(outgoing),
    isJoint: joint !== undefined,
    ids: [...new Set([...incoming, ...outgoing])],
  }
  if (directive.command === "committed") return committed(quorum, valuesOf(directive, "idx"))
  if (directive.command === "vote") return vote(quorum, valuesOf(directive, "votes"))
  return "unknown command"
}

function mismatch(quorum: Case, input: readonly number[]): string | undefined {
  if (quorum.ids.length === input.length) return undefined
  const voters = quorum.ids.toSorted((left, right) => left - right).map((id) => `${id}:{}`)
  return `error: mismatched input (explicit or _) for voters map[${voters.join(" ")}]: [${input.join(" ")}]`
}

/** Zero stands for `_`, which is the same as no word from that voter. */
function assign(ids: readonly number[], input: readonly number[]): Map<number, number> {
  const pairs = ids.map((id, position) => [id, input[position]!] as const)
  return new Map(pairs.filter(([, value]) => value !== 0))
}

function formatIndex(index: number): string {
  return index === Infinity ? "∞" : String(index)
}

function committed(quorum: Case, texts: readonly string[]): string {
  const input = texts.map((text) => (text === "_" ? 0 : Number(text)))
  const wrong = mismatch(quorum, input)
  if (wrong !== undefined) return wrong
  const indexes = assign(quorum.ids, input)
  const lookUp = (id: number): number | undefined => indexes.get(id)
  const { incoming, outgoing } = quorum
  const index = quorum.isJoint
    ? jointCommitted({ incoming, outgoing }, lookUp)
    : majorityCommitted(incoming, lookUp)
  const lines = [`${chart(quorum.ids, indexes)}${formatIndex(index)}`]
  const alternative = quorum.isJoint
    ? jointCommitted({ incoming: outgoing, outgoing: incoming }, lookUp)
    : jointCommitted({ incoming, outgoing: incoming }, lookUp)
  if (alternative !== index) lines.push(`${formatIndex(alternative)} <-- the other way round`)
  return lines.join("\n")
}

/** A bar for each voter: longer for those that are further. */
function chart(ids: readonly number[], indexes: ReadonlyMap<number, number>): string {
  if (ids.length === 0) return "<empty majority quorum>"
  const rank = (id: number): number => {
    const own = indexes.get(id) ?? 0
    return ids.filter((other) => (indexes.get(other) ?? 0) < own).length
  }
  const width = ids.length
  const rows = ids
    .toSorted((left, right) => left - right)
    .map((id) => {
      const index = indexes.get(id)
      const bar = index === undefined ? "?" : `${"x".repeat(rank(id))}>`
      return `${bar.padEnd(width + 1)} ${String(index ?? 0).padStart(5)}    (id=${id})\n`
    })
  return `${" ".repeat(width)}    idx\n${rows.join("")}`
}

function vote(quorum: Case, texts: readonly string[]): string {
  const values: Readonly<Record<string, number>> = { y: 2, n: 1, _: 0 }
  const input = texts.map((text) => values[text] ?? Number.NaN)
  const wrong = mismatch(quorum, input)
  if (wrong !== undefined) return wrong
  const cast = assign(quorum.ids, input)
  const votes = new Map([...cast].map(([id, value]) => [id, value === 2]))
  const { incoming, outgoing } = quorum
  const result = quorum.isJoint
    ? jointVote({ incoming, outgoing }, votes)
    : majorityVote(incoming, votes)
  const alternative = quorum.isJoint
    ? jointVote({ incoming: outgoing, outgoing: incoming }, votes)
    : jointVote({ incoming, outgoing: incoming }, votes)
  return alternative === result ? result : `${result}\n${alternative} <-- the other way round`
}
