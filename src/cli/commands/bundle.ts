/** `troupe bundle verify|info`: reads the disk only, and says what the original says. */
import {
  bundleInfo,
  formatInfoJson,
  formatInfoText,
  formatVerifyJson,
  formatVerifyText,
  verifyBundle,
} from "../../bundles/index.ts"
import { exitCodes } from "../exit.ts"
import type { Session } from "../session.ts"

export async function verify(
  session: Session,
  path: string,
  options: { json?: true; skipHashes?: true; skipPcaps?: true; strict: boolean },
): Promise<number> {
  const { skipHashes = false, skipPcaps = false, strict } = options
  const report = await verifyBundle(path, { skipHashes, skipPcaps, strict })
  const text = options.json === true ? formatVerifyJson(report) : formatVerifyText(report)
  session.terminal.write(text)
  return report.Valid ? exitCodes.ok : exitCodes.mismatch
}

export async function info(
  session: Session,
  path: string,
  options: { json?: true },
): Promise<number> {
  const found = await bundleInfo(path)
  session.terminal.write(options.json === true ? formatInfoJson(found) : formatInfoText(found))
  return exitCodes.ok
}
