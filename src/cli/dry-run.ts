/** `--dry-run`: everything is checked and nothing starts; what was resolved is written down, as the original does. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "../config/index.ts"
import { goArch, goOs } from "../lib/index.ts"
import type { PlanView } from "../schema/index.ts"
import { exitCodes } from "./exit.ts"
import { freePath } from "./free-path.ts"
import type { ManifestInput } from "./manifest-input.ts"
import { type Format, printOne } from "./output.ts"
import type { Session } from "./session.ts"

/** No run_meta.json, so that nobody takes it for the bundle of a run. */
export async function writeDryRun(
  session: Session,
  dry: { input: ManifestInput; plan: PlanView; format: Format; bundleDir: string },
): Promise<number> {
  const { input, plan, format, bundleDir } = dry
  const { terminal } = session
  terminal.tell("Mode: DRY RUN (no processes will be started)")
  for (const warning of plan.warnings) terminal.tell(`warning: ${warning}`)
  const unplaced = plan.placements.filter(({ node }) => node === undefined)
  for (const { task, waiting, rejected } of unplaced) {
    const reasons = rejected.map(({ node, reason }) => `${node}: ${reason}`).join("; ")
    const why = waiting ?? reasons
    terminal.tell(`warning: no node fits ${task}${why === "" ? "" : ` (${why})`}`)
  }
  const path = freePath(join(bundleDir, plan.label))
  mkdirSync(path, { recursive: true })
  const versions = {
    cipdip_version: `troupe ${build.version}`,
    controller_os: goOs(process.platform),
    controller_arch: goArch(process.arch),
  }
  writeFileSync(join(path, "manifest.yaml"), input.text)
  writeFileSync(join(path, "manifest_resolved.yaml"), plan.resolved)
  writeFileSync(join(path, "versions.json"), JSON.stringify(versions, undefined, 2))
  const lines = [
    "",
    "Run completed",
    `  Run ID:   ${plan.label}`,
    `  Status:   ${unplaced.length === 0 ? "success" : "unplaceable"}`,
    "  Duration: 0.0s",
    `  Bundle:   ${path}`,
  ]
  const value = { ...plan, path }
  await printOne(terminal, format, { kind: "DryRun", value, text: () => lines.join("\n") })
  return unplaced.length === 0 ? exitCodes.ok : exitCodes.unplaceable
}
