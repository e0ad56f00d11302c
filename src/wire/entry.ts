/** The data of a log entry: `{version, at, command}`, binary but for the plan, which is JSON. */
import {
  type Codec,
  CodecError,
  array,
  bool,
  encode,
  json,
  list,
  oneOf,
  optional,
  Reader,
  struct,
  text,
  uint,
  union,
  Writer,
} from "../lib/index.ts"
import { knownVersions, type Plan, type VersionRange } from "../schema/index.ts"
import type {
  CheckpointItem,
  CollectItem,
  Command,
  DecideItem,
  Placement,
  CordonItem,
  ReportItem,
  RetryItem,
  SubmitItem,
} from "../state/index.ts"
import * as fields from "./fields.ts"

/** Items of one entry. */
export const entryItemsMax = 512
/** Bytes of an entry of several items. */
export const entryBytesMax = 256 * 1024
/** Bytes of an entry of one item: a submit with its plan, or a report of many outputs. */
export const singleBytesMax = 1024 * 1024

/** An entry that a newer troupe wrote: this node must stop (exit 76) and never skip it. */
export class UnknownVersionError extends Error {
  override readonly name = "UnknownVersionError"
}

/** Members with outputs that one retry may carry over. */
const keptMax = 100_000

export interface EntryData {
  readonly version: number
  /** The leader's wall clock, ms. */
  readonly at: number
  readonly command: Command
}

const placementFields = {
  ...fields.taskFields,
  attempt: uint,
  node: uint,
  lease: uint,
  address: fields.address,
}
const placement: Codec<Placement> = struct(placementFields)

const submit: Codec<SubmitItem> = struct({
  principal: fields.short,
  key: fields.short,
  bodyHash: fields.short,
  entryNode: fields.short,
  plan: json<Plan>(singleBytesMax),
  placements: list(placement, 4096),
})

// Fields are optional without `undefined` in the commands, so the codec's own shape is adapted by hand.
const reportShape = struct({
  ...fields.taskFields,
  attempt: uint,
  fence: uint,
  state: oneOf("started", "ready", "ended"),
  at: fields.time,
  ending: optional(fields.ending),
  outputs: optional(list(fields.output, fields.outputsMax)),
  bundle: optional(
    struct({ digest: fields.digest, bytes: uint, files: uint, holders: list(uint, 256) }),
  ),
})
/** Also what a worker sends: the leader proposes the item as it came. */
export const reportItem: Codec<ReportItem> = {
  write: (writer, value) => reportShape.write(writer, value),
  read: (reader) => reportShape.read(reader) as ReportItem,
}

const decideItem: Codec<DecideItem> = union("kind", {
  "run-timeout": struct({ run: fields.short }),
  unplaceable: struct({ task: fields.taskRef, reason: fields.sentence }),
  "attempt-lost": struct({ task: fields.taskRef, fence: uint, reason: fields.sentence }),
  overdue: struct({ task: fields.taskRef, fence: uint, reason: fields.sentence }),
  drained: struct({ task: fields.taskRef, fence: uint, reason: fields.sentence }),
})

const genesis = struct({
  cluster: fields.short,
  clusterId: fields.short,
  founder: fields.declaration,
})
const declare = struct({ id: uint, declaration: fields.declaration })
const roleItem = struct({ id: uint, role: fields.role })
const session = struct({ node: uint, boot: fields.short, state: oneOf("up", "lost") })
const dissolve = struct({ into: fields.short, peers: array(fields.peerRefRow, 256) })
const readmit = struct({ instead: uint, declaration: fields.declaration })
const remove = struct({ id: uint })
const raise = struct({ version: uint })
const pin = struct({ run: fields.short, pinned: bool })
const rowKey = text(1024)
const collect: Codec<CollectItem> = union("kind", {
  run: struct({ run: fields.short }),
  row: struct({ run: fields.short, key: rowKey }),
  emptied: struct({ run: fields.short }),
  key: struct({ key: rowKey, at: fields.time }),
})
const checkpoint: Codec<CheckpointItem> = union("kind", {
  measure: struct({}),
  agreed: struct({ index: uint, hash: fields.short }),
})
const expel = struct({ id: uint, reason: fields.sentence })
const supersede = struct({
  into: fields.short,
  index: uint,
  peers: array(fields.peerRefRow, 256),
})
const retry: Codec<RetryItem> = struct({
  run: fields.short,
  how: oneOf("rerun", "failed"),
  principal: fields.short,
  key: fields.short,
  bodyHash: fields.short,
  entryNode: fields.short,
  plan: json<Plan>(singleBytesMax),
  kept: list(
    struct({
      group: fields.short,
      index: uint,
      outputs: list(fields.output, fields.outputsMax),
    }),
    keptMax,
  ),
})
const cordonShape = struct({
  id: uint,
  mode: oneOf("open", "cordon", "drain"),
  reason: fields.sentence,
  deadlineAt: optional(fields.time),
})
const cordon: Codec<CordonItem> = {
  write: (writer, value) => cordonShape.write(writer, value),
  read: (reader) => cordonShape.read(reader) as CordonItem,
}
const dead = struct({ id: uint, reason: fields.sentence })
const cancel = struct({ run: fields.short, reason: fields.sentence })

interface ItemCodec {
  write(writer: Writer, value: never): void
  read(reader: Reader): unknown
}
/** The position of a type is its number on the wire: append, never reorder or remove. */
const itemCodecs: Record<Command["type"], ItemCodec> = {
  genesis,
  admit: fields.declaration,
  declare,
  role: roleItem,
  session,
  dissolve,
  submit,
  assign: placement,
  report: reportItem,
  decide: decideItem,
  cancel,
  remove,
  expel,
  supersede,
  raise,
  pin,
  collect,
  checkpoint,
  readmit,
  retry,
  cordon,
  dead,
}
/** Types that came after version 1. */
const introducedIn: Partial<Record<Command["type"], number>> = {
  expel: 2,
  supersede: 2,
  raise: 2,
  pin: 2,
  collect: 2,
  checkpoint: 2,
  readmit: 2,
  retry: 3,
  cordon: 3,
  dead: 3,
}
const singles = new Set<Command["type"]>(["genesis", "dissolve", "raise", "checkpoint"])
const types = Object.keys(itemCodecs) as Command["type"][]

/** The version of an entry with this command where `active` is what all voters understand: undefined when they do not
 *  all understand the command. Only a raise is ahead of them, so that who does not understand what follows stops at it. */
export function entryVersionOf(command: Command, active: number): number | undefined {
  const first = introducedIn[command.type] ?? 1
  return first <= active || command.type === "raise" ? Math.max(first, active) : undefined
}

function header(entry: EntryData, count: number): Writer {
  const writer = new Writer()
  writer.varint(entry.version)
  writer.varint(types.indexOf(entry.command.type))
  fields.time.write(writer, entry.at)
  writer.varint(count)
  return writer
}

/** CodecError when it has more items or bytes than an entry may have. */
export function encodeEntry(entry: EntryData): Uint8Array {
  const { items, type } = entry.command
  if (items.length > entryItemsMax) {
    throw new CodecError(`${items.length} items in an entry, at most ${entryItemsMax}`)
  }
  const writer = header(entry, items.length)
  for (const item of items) itemCodecs[type].write(writer, item as never)
  const encoded = writer.finish()
  const max = items.length === 1 ? singleBytesMax : entryBytesMax
  if (encoded.length > max) {
    throw new CodecError(`an entry of ${encoded.length} bytes, at most ${max}`)
  }
  return encoded
}

/** Cuts a command of any number of items into as few entries as the limits allow, in order.
 *  `count` items of the command went into each. CodecError when one item alone is too large. */
export function encodeEntries(
  entry: EntryData,
): readonly { readonly data: Uint8Array; readonly count: number }[] {
  const codec = itemCodecs[entry.command.type]
  const entries: { data: Uint8Array; count: number }[] = []
  let batch: Uint8Array[] = []
  let size = 0
  const close = (): void => {
    if (batch.length === 0) return
    const writer = header(entry, batch.length)
    for (const item of batch) writer.raw(item)
    entries.push({ data: writer.finish(), count: batch.length })
    batch = []
    size = 0
  }
  const headerMax = 32
  for (const item of entry.command.items) {
    const encoded = encode(codec as Codec<unknown>, item)
    if (encoded.length + headerMax > singleBytesMax) {
      throw new CodecError(`an item of ${encoded.length} bytes, at most ${singleBytesMax}`)
    }
    const full = batch.length >= entryItemsMax || size + encoded.length + headerMax > entryBytesMax
    if (full) close()
    batch.push(encoded)
    size += encoded.length
  }
  close()
  return entries
}

/** UnknownVersionError when a newer troupe wrote it than this one (or, in tests, one that knows only `known`);
 *  CodecError when it is damaged. */
export function decodeEntry(data: Uint8Array, known: VersionRange = knownVersions): EntryData {
  const reader = new Reader(data)
  const version = reader.varint()
  if (version < known.oldest || version > known.newest) {
    throw new UnknownVersionError(
      `a log entry of version ${version}; this troupe knows ${known.oldest} to ${known.newest}`,
    )
  }
  const number = reader.varint()
  const type = types[number]
  if (type === undefined || (introducedIn[type] ?? 1) > version) {
    throw new UnknownVersionError(`a log entry of version ${version} of unknown type ${number}`)
  }
  const at = fields.time.read(reader)
  const items = list(itemCodecs[type] as Codec<unknown>, entryItemsMax).read(reader)
  if (reader.left > 0) throw new CodecError(`${reader.left} bytes too many in an entry`)
  if (singles.has(type) && items.length !== 1) {
    throw new CodecError(`${items.length} items of ${type}`)
  }
  const command = { type, items } as Command
  if (command.type === "raise" && command.items[0].version > known.newest) {
    const { version: raised } = command.items[0]
    throw new UnknownVersionError(
      `the cluster is raised to version ${raised}; this troupe knows ${known.oldest} to ${known.newest}`,
    )
  }
  return { version, at, command }
}
