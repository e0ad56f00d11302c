/** The words of `job`, of `explain`, and of runs that are to run again. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { collect, type Does, duration, withOutput, withRemote } from "./options.ts"

export function addJob(program: Command, does: Does): void {
  const job = program.command("job").description("single commands")
  const run = job
    .command("run")
    .usage("[options] -- COMMAND [ARGUMENT...]")
    .description("run one command on a node, its output as it comes; exits by its verdict")
    .showHelpAfterError("  the command stands behind `--`: troupe job run -- COMMAND")
    .argument("[command...]", "the program and its arguments, behind `--`; no shell")
  whereOptions(run)
  howOptions(run)
  limitOptions(run)
  run
    .option("--name <label>", "label of the run (default: the program's name)")
    .addOption(
      new Option(
        "--env <name=value>",
        "for the command; NAME alone: as it is set here; may be repeated",
      )
        .argParser(collect)
        .default([], "none"),
    )
    .option(
      "--cwd <dir>",
      "where it runs, absolute, on the node (default: the node's work directory)",
    )
    .addOption(
      new Option("--artifacts <glob>", "files of its own directory that come home; may be repeated")
        .argParser(collect)
        .default([], "none"),
    )
    .option("--bundle-dir <dir>", "where bundles with artifacts are unpacked", "runs")
    .option("--detach", "return when it is accepted")
    .option("--dry-run", "check everything, start nothing")
    .option("--print-plan", "show which node would take it, and start nothing")
    .option("--key <key>", "idempotency key: the same key is the same run")
  withRemote(withOutput(run)).action(
    does(async () => (await import("./commands/job-run.ts")).jobRun),
  )
}

function whereOptions(run: Command): void {
  run
    .option("--node <node>", "only on this node: its name, its member id, or local")
    .addOption(
      new Option(
        "--needs <key=value>",
        "what the node must have: cores=4, memory=8GiB, gpus=1, os=linux, arch=x64, tool=ffmpeg, label.KEY=VALUE; with commas or repeated",
      )
        .argParser(collect)
        .default([], "nothing"),
    )
    .addOption(
      new Option(
        "--exclusive [scope]",
        "node (default): no other process on its node meanwhile; network: no other with --exclusive there",
      ).choices(["node", "network"]),
    )
    .addOption(
      new Option("--placing <how>", "over the nodes, or on as few as will do")
        .choices(["spread", "pack"])
        .default(undefined, "spread"),
    )
    .addOption(
      new Option("--priority <number>", "-100 to 100, higher goes first (default: 0)").argParser(
        number,
      ),
    )
    .addOption(
      new Option(
        "--on-loss <policy>",
        "when the node of a running attempt is lost (default: wait)",
      ).choices(["wait", "fail", "requeue"]),
    )
}

function howOptions(run: Command): void {
  const time = (flag: string, help: string) =>
    run.addOption(new Option(`${flag} <duration>`, help).argParser(duration))
  run
    .addOption(
      new Option("--count <members>", "run it so often; each is told TROUPE_INDEX and TROUPE_COUNT")
        .argParser(number)
        .default(1),
    )
    .addOption(new Option("--parallel <members>", "at most so many at once").argParser(number))
    .option("--fail-fast", "the first member that fails for good ends the others")
    .addOption(
      new Option("--retries <tries>", "further tries after one that failed")
        .argParser(number)
        .default(0),
    )
  time("--backoff", "wait before the second try, doubling up to 5m (default: 1s)")
  time("--deadline", "of each attempt, from its start (default: none)")
  time("--timeout", "of the whole run (default: 7d)")
}

function limitOptions(run: Command): void {
  run
    .option("--memory <size>", "at most so much memory, e.g. 512MiB; beyond it the kernel kills")
    .addOption(new Option("--cpus <cores>", "at most so much processor time").argParser(number))
    .addOption(
      new Option("--pids <count>", "at most so many processes and threads").argParser(number),
    )
    .addOption(new Option("--open-files <count>", "of each process").argParser(number))
}

export function addRetries(runs: Command, does: Does): void {
  const retry = runs
    .command("retry")
    .description("run again what did not succeed in a finished run; what did keeps its results")
    .argument("<run>", "id or label")
    .option("--failed", "only what did not succeed (what this command is for)")
  withRemote(withOutput(retry)).action(
    does(async () => (await import("./commands/runs-again.ts")).retry),
  )
  const rerun = runs
    .command("rerun")
    .description("run all of a finished run again")
    .argument("<run>", "id or label")
  withRemote(withOutput(rerun)).action(
    does(async () => (await import("./commands/runs-again.ts")).rerun),
  )
}

export function addExplain(program: Command, does: Does): void {
  const explain = program
    .command("explain")
    .description("say why tasks wait, and what each node lacks for them")
    .argument("<run[/task]>", "id or label of the run, and the name of one task")
  withRemote(withOutput(explain)).action(
    does(async () => (await import("./commands/explain.ts")).explain),
  )
}

/** Its bounds are told by the cluster, together with every other mistake. */
function number(text: string): number {
  const value = Number(text)
  if (text.trim() !== "" && Number.isFinite(value)) return value
  throw new InvalidArgumentError("write a number.")
}
