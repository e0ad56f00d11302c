/** The model of a map from keys to text with get, put and append; a partition for each key. */
import { hashText } from "./hash-text.ts"
import type { Model } from "./model.ts"

export type KvCall =
  | { readonly op: "get"; readonly input: { readonly key: string } }
  | {
      readonly op: "put" | "append"
      readonly input: { readonly key: string; readonly text: string }
    }

/** Text with its hash, which an append continues without reading what is there. */
export interface KvState {
  readonly text: string
  readonly hash: number
}

const longestShown = 60

function shown(text: string): string {
  if (text.length <= longestShown) return JSON.stringify(text)
  const end = text.slice(-longestShown / 2)
  return `${JSON.stringify(text.slice(0, longestShown / 2))}…${JSON.stringify(end)} (${text.length} long)`
}

/** A key that nobody wrote holds "". A get's output is the text, those of put and append are not looked at. */
export const kvModel: Model<KvState, KvCall, string> = {
  init: { text: "", hash: hashText("") },
  step(state, call, output) {
    if (call.op === "get") return output === undefined || output === state.text ? state : undefined
    const { text } = call.input
    if (call.op === "put") return { text, hash: hashText(text) }
    return { text: state.text + text, hash: hashText(text, state.hash) }
  },
  hash: (state) => state.hash,
  equal: (left, right) => left.hash === right.hash && left.text === right.text,
  partition: (call) => call.input.key,
  isRead: (call) => call.op === "get",
  isReset: (call) => call.op === "put",
  couldLeadTo(state, call, output) {
    if (call.op !== "get" || output === undefined) return true
    return output.length >= state.text.length && output.startsWith(state.text)
  },
  kind: (call) => JSON.stringify([call.op, call.input]),
  showOutput: shown,
  showState: (state) => shown(state.text),
  showCall: (call) => (call.op === "get" ? "get" : `${call.op} ${shown(call.input.text)}`),
}
