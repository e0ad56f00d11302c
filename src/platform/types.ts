/** The world's clock, chance and log, as every doing room is handed them. */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall clock, ms since the epoch. For stamps, never for durations. */
  now(): number
  /** ms that keep counting while the machine sleeps, from an arbitrary origin. For every duration. */
  boottime(): number
  after(ms: number, run: () => void): Timer
  /** When all that has arrived by now is dealt with: the end of this turn of the event loop. No time passes. */
  soon(run: () => void): void
  every(ms: number, run: () => void): Timer
  /** Aborts with ERR_TIMEOUT after ms. */
  timeoutSignal(ms: number, what: string): AbortSignal
  /** Rejects with the signal's reason when aborted. */
  sleep(ms: number, options?: { signal?: AbortSignal }): Promise<void>
}

export interface Random {
  /** [0, 1) */
  next(): number
  bytes(length: number): Uint8Array
}

/** Messages are constant sentences, values are fields. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
  error(message: string, fields?: Record<string, unknown>): void
  child(fields: Record<string, unknown>): Logger
}
