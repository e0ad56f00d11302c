/** From an accepted attempt to what the spawner is asked for. */
import type { Attempt } from "./book.ts"
import { findCommand } from "./command.ts"
import type { LimitedCgroups } from "./limits.ts"
import { attemptFiles, type KeeperPaths } from "./paths.ts"
import type { SpawnOrder } from "./spawner.ts"
import { stageFiles } from "./staging.ts"

export interface PreparationParts {
  readonly paths: KeeperPaths
  readonly setpriv: string | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly limits: LimitedCgroups
}

/** Lays out its files, finds its program and makes the cgroups of its limits, which `limited` writes down before anything
 *  runs in them; one sentence when it cannot start. */
export async function prepareOrder(
  attempt: Attempt,
  parts: PreparationParts & { readonly limited: (paths: readonly string[]) => Promise<void> },
): Promise<SpawnOrder | string> {
  const { paths, setpriv, environment } = parts
  const { spec, nonce } = attempt
  const files = attemptFiles(paths, spec)
  if (!spec.directory && spec.files.length > 0) return "its files need a directory of its own"
  if (spec.directory) {
    const problem = await stageFiles(files.directory, spec.files)
    if (problem !== undefined) return problem
  }
  const env = { ...environment, ...spec.env, TROUPE_NONCE: nonce }
  const cwd = spec.cwd ?? (spec.directory ? files.directory : paths.work)
  const command = findCommand(spec.argv[0] ?? "", cwd, env)
  if ("problem" in command) return command.problem
  const enclosure = spec.limits && parts.limits.enclose(nonce, spec.limits)
  if (typeof enclosure === "string") return enclosure
  if (enclosure && enclosure.paths.length > 0) {
    try {
      await parts.limited(enclosure.paths)
    } catch (error) {
      parts.limits.release(enclosure.paths)
      return (error as Error).message
    }
  }
  const dies = spec.onKeeperDeath === "die" && setpriv !== undefined
  const before = [
    ...(dies ? [setpriv, "--pdeathsig", "KILL", "--"] : []),
    ...(enclosure?.launcher ?? []),
  ]
  return {
    file: before[0] ?? command.file,
    argv: before.length === 0 ? spec.argv : [...before, command.file, ...spec.argv.slice(1)],
    cwd,
    env,
    stdout: files.stdout,
    stderr: files.stderr,
  }
}
