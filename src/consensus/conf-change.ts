/** The bytes of a configuration entry. Empty bytes leave the joint configuration. */
import { bytes, decode, encode, list, oneOf, struct, uint } from "../lib/index.ts"
import type { ConfChange, Entry } from "./types.ts"

const changesMax = 1024
const contextBytesMax = 64 * 1024

const confChange = struct({
  transition: oneOf("auto", "implicit", "explicit"),
  changes: list(
    struct({
      type: oneOf(
        "ConfChangeAddNode",
        "ConfChangeRemoveNode",
        "ConfChangeUpdateNode",
        "ConfChangeAddLearnerNode",
      ),
      id: uint,
    }),
    changesMax,
  ),
  context: bytes(contextBytesMax),
})

/** The change that every joint configuration ends with. */
const leaveJointChange: ConfChange = {
  transition: "auto",
  changes: [],
  context: new Uint8Array(0),
}

export function encodeConfChange(change: ConfChange): Uint8Array {
  return encode(confChange, change)
}

/** CodecError when the bytes are none. */
export function decodeConfChange(data: Uint8Array): ConfChange {
  return data.length === 0 ? leaveJointChange : decode(confChange, data)
}

export function isConfChange(entry: Entry): boolean {
  return entry.type !== "EntryNormal"
}
