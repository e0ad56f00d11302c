/** `troupe version`. */
import { build } from "../../config/index.ts"
import { exitCodes } from "../exit.ts"
import { printOne } from "../output.ts"
import { formatOf, type Session } from "../session.ts"

export async function version(session: Session, options: { output?: string }): Promise<number> {
  const value = {
    version: build.version,
    ...(build.commit !== "" && { commit: build.commit }),
    node: process.version,
    os: process.platform,
    arch: process.arch,
  }
  const commit = build.commit === "" ? "" : ` (${build.commit})`
  const text = () => `troupe ${value.version}${commit} ${value.os}/${value.arch} node ${value.node}`
  await printOne(session.terminal, formatOf(session, options.output), {
    kind: "Version",
    value,
    text,
  })
  return exitCodes.ok
}
