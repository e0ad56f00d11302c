/** The real logger: JSON lines by pino, to standard error unless a destination is given. */
import pino from "pino"
import type { Logger } from "./types.ts"

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent"

export function createLogger(options: { level: LogLevel; file?: string }): Logger {
  const destination = pino.destination({ dest: options.file ?? 2, sync: false })
  return wrap(pino({ level: options.level, base: null }, destination))
}

/** For tests and tools that want no log. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
}

function wrap(inner: pino.Logger): Logger {
  return {
    debug: (message, fields) => inner.debug(fields ?? {}, message),
    info: (message, fields) => inner.info(fields ?? {}, message),
    warn: (message, fields) => inner.warn(fields ?? {}, message),
    error: (message, fields) => inner.error(fields ?? {}, message),
    child: (fields) => wrap(inner.child(fields)),
  }
}
