/** What commands share: their kinds of options, and the words that these take. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { parseDuration } from "./duration.ts"
import { formats } from "./output.ts"
import type { Session } from "./session.ts"

export type Action<Args extends unknown[]> = (session: Session, ...args: Args) => Promise<number>

/** Wraps an action: session in, exit code out, errors told. */
export type Does = <Args extends unknown[]>(
  load: () => Promise<Action<Args>>,
) => (...args: [...Args, Command]) => Promise<void>

export function withOutput(command: Command): Command {
  return command.option("-o, --output <form>", `${formats.join(", ")} (also TROUPE_OUTPUT)`)
}

export function withRemote(command: Command): Command {
  return command.option(
    "--api <url>",
    "a node's API; several with commas are tried in turn (also TROUPE_API; default: http://127.0.0.1:8770)",
  )
}

export function durationOption(help: string, fallback: string): Option {
  const option = new Option("--timeout <duration>", help).argParser(duration)
  return option.default(duration(fallback), fallback)
}

export function reasonOption(): Option {
  return new Option("--reason <text>", "why, for whoever asks").default("")
}

export function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms <= 0) {
    throw new InvalidArgumentError("write a duration like 90s, 5m or 1h30m.")
  }
  return ms
}

export function count(text: string): number {
  const value = Number(text)
  if (/^[1-9][0-9]{0,5}$/.test(text)) return value
  throw new InvalidArgumentError("write a whole number of at least 1.")
}

export function truth(text: string): boolean {
  if (text === "true" || text === "1") return true
  if (text === "false" || text === "0") return false
  throw new InvalidArgumentError("write true or false.")
}

export function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text]
}
