/** A client that makes one replicated write after the other, whatever the system under it. */

export interface Writer {
  /** True when it was acknowledged; a refusal or a lost connection is false. */
  write(number: number, limitMs: number): Promise<boolean>
  close(): void
}

/** Which system, where. `run` is the finished run that troupe's write is about. */
export interface WriterTarget {
  readonly system: "etcd" | "troupe"
  readonly host: string
  readonly port: number
  readonly run?: string
}

/** What both systems replicate with each write, beside its key. */
export const valueBytes = 100

/** Ends by `begin`'s own answer or after `limitMs`. */
export function within(
  limitMs: number,
  begin: (settle: (ok: boolean) => void) => () => void,
): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (ok: boolean): void => {
      clearTimeout(late)
      resolve(ok)
    }
    let giveUp: (() => void) | undefined
    const late = setTimeout(() => {
      giveUp?.()
      settle(false)
    }, limitMs)
    giveUp = begin(settle)
  })
}
