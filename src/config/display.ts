/** The configuration as it may be shown and logged: addresses as text, no secrets. */
import { formatAddress } from "./address.ts"
import type { Config } from "./load.ts"

/** Flat, for the start's log line and `-o json`. A join address may name a peer id, which is public. */
export function displayConfig(config: Config): Readonly<Record<string, unknown>> {
  const { listen, api, timing, ...rest } = config
  return { ...rest, listen: formatAddress(listen), api: formatAddress(api), ...timing }
}
