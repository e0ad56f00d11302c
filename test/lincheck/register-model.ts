/** The model of one register with read, write and compare-and-set. */
import { hashText } from "./hash-text.ts"
import type { Model } from "./model.ts"

/** null: nothing was written yet. */
export type RegisterValue = string | number | null

export type RegisterCall =
  | { readonly op: "read"; readonly input: undefined }
  | { readonly op: "write"; readonly input: RegisterValue }
  | {
      readonly op: "cas"
      readonly input: { readonly from: RegisterValue; readonly to: RegisterValue }
    }

/** What a read saw; whether a cas found the value it compared with. A write's is not looked at. */
export type RegisterOutput = RegisterValue | boolean

function showValue(value: RegisterOutput): string {
  return value === null ? "nil" : String(value)
}

export const registerModel: Model<RegisterValue, RegisterCall, RegisterOutput> = {
  init: null,
  step(state, call, output) {
    if (call.op === "read") return output === undefined || output === state ? state : undefined
    if (call.op === "write") return call.input
    const { from, to } = call.input
    const isFound = state === from
    if (output !== undefined && output !== isFound) return undefined
    return isFound ? to : state
  },
  hash: (state) => (typeof state === "number" ? state | 0 : hashText(state ?? "")),
  equal: (left, right) => left === right,
  isRead: (call, output) => call.op === "read" || (call.op === "cas" && output === false),
  isReset: (call) => call.op === "write",
  kind: (call) => JSON.stringify([call.op, call.input]),
  showState: showValue,
  showOutput: showValue,
  showCall(call) {
    if (call.op === "read") return "read"
    if (call.op === "write") return `write ${showValue(call.input)}`
    return `cas ${showValue(call.input.from)} to ${showValue(call.input.to)}`
  },
}
