/** From an accepted attempt to what the spawner is asked for. */
import type { Attempt } from "./book.ts"
import { findCommand } from "./command.ts"
import { attemptFiles, type KeeperPaths } from "./paths.ts"
import type { SpawnOrder } from "./spawner.ts"
import { stageFiles } from "./staging.ts"

export interface PreparationParts {
  readonly paths: KeeperPaths
  readonly setpriv: string | undefined
  readonly environment: Readonly<Record<string, string>>
}

/** Lays out its files and finds its program; one sentence when it cannot start. */
export async function prepareOrder(
  attempt: Attempt,
  { paths, setpriv, environment }: PreparationParts,
): Promise<SpawnOrder | string> {
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
  const dies = spec.onKeeperDeath === "die" && setpriv !== undefined
  return {
    file: dies ? setpriv : command.file,
    argv: dies
      ? [setpriv, "--pdeathsig", "KILL", "--", command.file, ...spec.argv.slice(1)]
      : spec.argv,
    cwd,
    env,
    stdout: files.stdout,
    stderr: files.stderr,
  }
}
