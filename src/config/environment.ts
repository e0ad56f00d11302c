/** What the command line takes from its environment. The only other reader of `process.env` is loadConfig. */
import type { Environment } from "./sources.ts"

export interface CliEnvironment {
  /** TROUPE_API, split at commas; empty when unset. */
  readonly api: readonly string[]
  /** TROUPE_OUTPUT. */
  readonly output: string | undefined
  readonly colour: "always" | "never" | "auto"
  /** No animation: CI is set or the terminal is dumb. */
  readonly plain: boolean
  readonly debug: boolean
}

/** Follows no-color.org and the habit of FORCE_COLOR and CLICOLOR_FORCE. */
export function readCliEnvironment(env: Environment = process.env): CliEnvironment {
  const isSet = (name: string) => env[name] !== undefined && env[name] !== ""
  const forced = ["FORCE_COLOR", "CLICOLOR_FORCE"].some((name) => isSet(name) && env[name] !== "0")
  const dumb = env["TERM"] === "dumb"
  const never = isSet("NO_COLOR") || isSet("TROUPE_NO_COLOR")
  return {
    api: (env["TROUPE_API"] ?? "")
      .split(",")
      .map((url) => url.trim())
      .filter((url) => url !== ""),
    output: isSet("TROUPE_OUTPUT") ? env["TROUPE_OUTPUT"] : undefined,
    colour: never ? "never" : forced ? "always" : dumb ? "never" : "auto",
    plain: isSet("CI") || dumb,
    debug: isSet("TROUPE_DEBUG") && env["TROUPE_DEBUG"] !== "0",
  }
}
