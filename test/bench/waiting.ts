/** Waiting for something to become so, and the clock that figures are taken by. */

const pollMs = 20
const waitMs = 30_000

export async function rest(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}

/** Asks until `look` answers something; a failure is "not yet". */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  options: { readonly everyMs?: number; readonly limitMs?: number } = {},
): Promise<T> {
  const { everyMs = pollMs, limitMs = waitMs } = options
  const end = performance.now() + limitMs
  let last: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      last = error
    }
    if (performance.now() > end) {
      throw new Error(`waited ${limitMs / 1000} s for ${what}`, { cause: last })
    }
    await rest(everyMs)
  }
}

/** Wall clock in ms with a fraction, as other processes read it. Anchored anew, since performance.now() drifts away. */
export function anchorClock(): () => number {
  const before = Date.now()
  let edge = before
  while (edge === before) edge = Date.now()
  const origin = edge - performance.now()
  return () => origin + performance.now()
}
