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
import { printOne } from "../output.ts"
import { formatOf, type Session } from "../session.ts"

export async function verify(
  session: Session,
  path: string,
  options: {
    json?: true
    output?: string
    skipHashes?: true
    skipPcaps?: true
    strict: boolean
  },
): Promise<number> {
  const { skipHashes = false, skipPcaps = false, strict } = options
  const report = await verifyBundle(path, { skipHashes, skipPcaps, strict })
  const exitCode = report.Valid ? exitCodes.ok : exitCodes.mismatch
  if (options.json === true) session.terminal.write(formatVerifyJson(report))
  else {
    const format = formatOf(session, options.output)
    if (format === "table") session.terminal.write(formatVerifyText(report))
    else
      await printOne(session.terminal, format, {
        kind: "BundleReport",
        value: report,
        text: () => "",
      })
  }
  return exitCode
}

export async function info(
  session: Session,
  path: string,
  options: { json?: true; output?: string },
): Promise<number> {
  const found = await bundleInfo(path)
  if (options.json === true) session.terminal.write(formatInfoJson(found))
  else {
    const format = formatOf(session, options.output)
    if (format === "table") session.terminal.write(formatInfoText(found))
    else await printOne(session.terminal, format, { kind: "Bundle", value: found, text: () => "" })
  }
  return exitCodes.ok
}
