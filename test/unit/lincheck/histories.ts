/** Histories for the checker's tests: short ones from words, and an oracle that tries every order. */
import type {
  Call,
  HistoryEvent,
  KvCall,
  Model,
  RegisterCall,
  RegisterOutput,
} from "../../lincheck/index.ts"

export type RegisterEvent = HistoryEvent<RegisterCall, RegisterOutput>

/** [invoked, completed]; without the second the outcome is unknown. */
export type Span = readonly [number, number?]

let client = 0

function event<C extends Call, Output>(
  span: Span,
  call: C,
  output: Output | undefined,
): HistoryEvent<C, Output> {
  const [invokedAt, completedAt] = span
  return { ...call, client: client++, invokedAt, completedAt, output }
}

export function read(span: Span, output: number | null): RegisterEvent {
  return event<RegisterCall, RegisterOutput>(span, { op: "read", input: undefined }, output)
}

export function write(span: Span, input: number): RegisterEvent {
  return event<RegisterCall, RegisterOutput>(span, { op: "write", input }, undefined)
}

export function cas(span: Span, from: number, to: number, isFound?: boolean): RegisterEvent {
  return event<RegisterCall, RegisterOutput>(span, { op: "cas", input: { from, to } }, isFound)
}

export type KvEvent = HistoryEvent<KvCall, string>

export function get(span: Span, key: string, output: string): KvEvent {
  return event<KvCall, string>(span, { op: "get", input: { key } }, output)
}

export function put(span: Span, key: string, text: string): KvEvent {
  return event<KvCall, string>(span, { op: "put", input: { key, text } }, undefined)
}

export function append(span: Span, key: string, text: string): KvEvent {
  return event<KvCall, string>(span, { op: "append", input: { key, text } }, undefined)
}

/** Tries every order, as the definition says it: slow, and plain enough to be believed. */
export function isLinearizable<State extends {} | null, C extends Call, Output>(
  model: Model<State, C, Output>,
  history: readonly HistoryEvent<C, Output>[],
  state: State = model.init,
): boolean {
  if (history.every(({ completedAt }) => completedAt === undefined)) return true
  return history.some((next, index) => {
    const others = history.toSpliced(index, 1)
    if (
      others.some(({ completedAt }) => completedAt !== undefined && completedAt < next.invokedAt)
    ) {
      return false
    }
    const isKnown = next.completedAt !== undefined
    const after = model.step(state, next, isKnown ? next.output : undefined)
    return after !== undefined && isLinearizable(model, others, after)
  })
}
