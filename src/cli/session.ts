/** What every command is handed: where to write, what form, whom to ask, and how it is interrupted. */
import type { Clock } from "../platform/index.ts"
import type { CliEnvironment } from "../config/index.ts"
import { nearest } from "../lib/index.ts"
import { UsageError } from "./failure.ts"
import { type Format, formats } from "./output.ts"
import type { Terminal } from "./terminal.ts"

export interface Session {
  readonly terminal: Terminal
  readonly environment: CliEnvironment
  readonly clock: Clock
  /** Filled by commands that read a file which errors may point into. */
  readonly sources: Map<string, string>
}

const apiDefault = "http://127.0.0.1:8770"

/** -o, else TROUPE_OUTPUT, else a table. */
export function formatOf(session: Session, chosen: string | undefined): Format {
  const word = chosen ?? session.environment.output ?? "table"
  const format = formats.find((each) => each === word)
  if (format !== undefined) return format
  const meant = nearest(word, formats)
  throw new UsageError(
    `no output form ${JSON.stringify(word)}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    `there are: ${formats.join(", ")}`,
  )
}

/** Base URLs to ask in turn: --api, else TROUPE_API, else this machine's node. */
export function apiUrls(session: Session, chosen: string | undefined): readonly string[] {
  const words = chosen === undefined ? session.environment.api : chosen.split(",")
  const urls = words.map((word) => word.trim()).filter((word) => word !== "")
  return urls.length === 0 ? [apiDefault] : urls.map(apiUrl)
}

function apiUrl(word: string): string {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(word) ? word : `http://${word}`
  if (URL.canParse(text)) {
    const url = new URL(text)
    if (url.protocol === "http:" || url.protocol === "https:") {
      // The client appends paths that begin with a slash.
      return url.origin + url.pathname.replace(/\/+$/, "")
    }
  }
  throw new UsageError(
    `no URL of an API: ${JSON.stringify(word)}`,
    `write --api http://HOST:8770, or set TROUPE_API`,
  )
}
