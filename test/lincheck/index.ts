/**
 * lincheck: is what clients saw linearizable? For histories of our own simulations and of real clusters:
 *
 *     const recorder = new HistoryRecorder<RegisterCall, RegisterOutput>()
 *     const call = recorder.invoke("client-1", { op: "write", input: 7 })
 *     call.complete(undefined) // or discard(): certainly no effect; or neither: unknown
 *     const result = checkHistory(registerModel, recorder.history())
 *     if (result.failure) throw new Error(describeFailure(registerModel, result.failure))
 *     expect(result.verdict).toBe("ok")
 *
 * The room keeps no clock: whoever has times of his own builds the `HistoryEvent`s himself. A verdict may be
 * `unknown`, where the work ran out: never take it for ok.
 */
export { checkDirectory, checkFile, historyFiles } from "./check-directory.ts"
export { checkHistory, type CheckOptions, type CheckResult } from "./check.ts"
export { describeFailure, type DescribeOptions } from "./describe-failure.ts"
export type { Failure } from "./explain.ts"
export { HistoryRecorder, type RecordedCall } from "./history-recorder.ts"
export { parseKvLog } from "./kv-log.ts"
export { type KvCall, kvModel, type KvState } from "./kv-model.ts"
export { Labels } from "./labels.ts"
export { FormatError } from "./log-format.ts"
export type { Call, HistoryEvent, Model } from "./model.ts"
export { parseRegisterLog } from "./register-log.ts"
export {
  type RegisterCall,
  registerModel,
  type RegisterOutput,
  type RegisterValue,
} from "./register-model.ts"
export type { Verdict } from "./search.ts"
