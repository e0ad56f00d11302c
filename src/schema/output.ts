/** The merged output of a run as it travels: one JSON object a line. */
import * as z from "zod"

const StreamName = z.enum(["stdout", "stderr"])

/** Bytes of one stream of one attempt; whole lines, unless a line is long or goes on. */
const OutputBytes = z.strictObject({
  type: z.literal("output"),
  task: z.string(),
  attempt: z.int().positive(),
  node: z.string(),
  stream: StreamName,
  /** When the last of them was there: ms since the epoch, by the clock of the node that answers. */
  at: z.number(),
  /** Of the first byte in the stream. */
  offset: z.int().nonnegative(),
  /** Either the text, or Base64 of what is not UTF-8. */
  text: z.string().optional(),
  base64: z.string().optional(),
})

/** A sentence about what is missing for now, or for good. */
const OutputNotice = z.strictObject({
  type: z.literal("notice"),
  at: z.number(),
  message: z.string(),
  node: z.string().optional(),
})

/** Everything is said. A stream that ends without this has broken off. */
const OutputEnd = z.strictObject({
  type: z.literal("end"),
  at: z.number(),
  run: z.string(),
  /** Of so many attempts something is missing. */
  lost: z.int().nonnegative(),
})

export const OutputRecord = z.discriminatedUnion("type", [OutputBytes, OutputNotice, OutputEnd])
export type OutputRecord = z.infer<typeof OutputRecord>

/** What a reader has already: the next byte of a stream. */
export const OutputPosition = z.tuple([
  z.string(),
  z.int().positive(),
  StreamName,
  z.int().nonnegative(),
])
export type OutputPosition = z.infer<typeof OutputPosition>

/** Body of a request to go on. */
export const OutputPositions = z.strictObject({
  positions: z.array(OutputPosition).max(500_000),
})
export type OutputPositions = z.infer<typeof OutputPositions>
