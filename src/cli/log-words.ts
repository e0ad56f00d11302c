/** The words of `troupe logs`. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { parseDuration } from "./duration.ts"
import { type Does, withOutput, withRemote } from "./options.ts"

export function addLogs(program: Command, does: Does): void {
  const logs = program
    .command("logs")
    .description("print what a run's tasks write, merged by time")
    .argument("<run>", "id or label")
    .argument("[tasks...]", "tasks, or groups of them; otherwise all")
    .option("-f, --follow", "go on until the run is over, also with tasks that begin later")
    .option(
      "--since <time>",
      "only what came since: 5m, 2h, or a time like 2026-01-31T12:00",
      since,
    )
    .option("--tail <lines>", "at most so many last lines of each stream", lines)
    .option("--stdout", "standard output only")
    .option("--stderr", "standard error only")
    .option("--timestamps", "begin each line with its time")
    .addOption(
      new Option("--stream <stream>", "which stream")
        .choices(["stdout", "stderr", "both"])
        .default("both")
        .hideHelp(),
    )
  withRemote(withOutput(logs)).action(does(async () => (await import("./commands/logs.ts")).logs))
}

export function addArtifacts(runs: Command, does: Does): void {
  const artifacts = runs
    .command("artifacts")
    .description("bring the bundle of a finished run home, with its artifacts")
    .argument("<run>", "id or label")
    .option("--out <dir>", "where it is unpacked", "runs")
  withRemote(withOutput(artifacts)).action(
    does(async () => (await import("./commands/runs-artifacts.ts")).artifacts),
  )
}

function since(text: string): { readonly ms?: number; readonly at?: number } {
  const ms = parseDuration(text)
  if (ms !== undefined && ms >= 0) return { ms }
  const at = Date.parse(text)
  if (!Number.isNaN(at)) return { at }
  throw new InvalidArgumentError("write a duration like 5m, or a time like 2026-01-31T12:00:00Z.")
}

function lines(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text)
  throw new InvalidArgumentError("write a whole number of lines.")
}
