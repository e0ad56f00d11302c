/** The command tree. Only names, flags and help stand here; what a command does is loaded when it is called. */
import { Command, CommanderError, Option } from "commander"
import { build, fieldNames, noteOf, readCliEnvironment } from "../config/index.ts"
import { createClock } from "../platform/index.ts"
import { exitCodes } from "./exit.ts"
import { describeFailure, exitCodeOf } from "./failure.ts"
import { addExplain, addJob, addRetries } from "./job-words.ts"
import {
  type Action,
  collect,
  count,
  type Does,
  duration,
  durationOption,
  reasonOption,
  truth,
  withOutput,
  withRemote,
} from "./options.ts"
import type { Session } from "./session.ts"
import { addArtifacts, addLogs } from "./log-words.ts"
import { createTerminal } from "./terminal.ts"

/** How an action hands its exit code out of the parser. */
interface Outcome {
  code: number
}

/** Runs one command line; ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.ok)
    throw error
  })
  const code = await execute(argv)
  // What was written must leave before the process does; sockets that are kept alive must not hold it.
  await new Promise((resolve) => process.stdout.write("", resolve))
  process.exit(code)
}

async function execute(argv: readonly string[]): Promise<number> {
  const outcome: Outcome = { code: exitCodes.ok }
  const program = createProgram(outcome)
  const parsed = argv.length === 0 ? ["--help"] : argv
  try {
    await program.parseAsync(parsed, { from: "user" })
    return outcome.code
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // The parser has said what was wrong; help and version leave by this way too.
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  }
}

function createProgram(outcome: Outcome): Command {
  const program = new Command("troupe")
    .description(
      "A mesh of equal nodes that runs distributed work and brings home one verified bundle.",
    )
    .version(build.version, "-V, --version", "print the version")
    .option("--no-color", "no colour (also NO_COLOR)")
    .option("--debug", "show where an error comes from")
    .helpOption("-h, --help", "show help")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("  see: troupe --help")
    .showSuggestionAfterError(true)

  /** Wraps an action: session in, exit code out, errors told. */
  const does = <Args extends unknown[]>(load: () => Promise<Action<Args>>) => {
    return async (...args: [...Args, Command]) => {
      const session = createSession(program)
      try {
        const action = await load()
        outcome.code = await action(session, ...(args.slice(0, -1) as unknown[] as Args))
      } catch (error) {
        const { debug = session.environment.debug } = program.opts<{ debug?: boolean }>()
        const { terminal, sources } = session
        terminal.tell(describeFailure(error, { paint: terminal.paintError, debug, sources }))
        outcome.code = exitCodeOf(error)
      }
    }
  }
  addNode(program, does)
  addRun(program, does)
  addJob(program, does)
  addRuns(program, does)
  addExplain(program, does)
  addCluster(program, does)
  addBundle(program, does)
  withOutput(program.command("version"))
    .description("print the version, and what it runs on")
    .action(does(async () => (await import("./commands/version.ts")).version))
  program
    .command("completion")
    .description("print a script that completes troupe's words")
    .addArgument(program.createArgument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action(
      does(async () => {
        const { completion } = await import("./commands/completion.ts")
        return (session: Session, shell: "bash" | "zsh" | "fish") =>
          completion(session, program, shell)
      }),
    )
  return program
}

function addNode(program: Command, does: Does): void {
  const node = program.command("node").description("this machine's node")
  const start = node
    .command("start")
    .description("run a node until it is stopped (SIGTERM or Ctrl-C hands over first)")
    .option("--config <file>", "YAML file of these settings (also TROUPE_CONFIG)")
  for (const name of fieldNames) {
    const { flag, help, fallback, env } = noteOf(name)
    if (flag === undefined) continue
    const origin = fallback === undefined ? env : `default: ${fallback}; ${env}`
    start.addOption(new Option(flag, `${help} (${origin})`))
  }
  start.action(does(async () => (await import("./commands/node-start.ts")).nodeStart))
  node
    .command("stop")
    .description("stop the node of a data directory and wait until it has")
    .option("--data <dir>", "its data directory")
    .option("--cluster <name>", "its cluster, where --data is not given")
    .option("--config <file>", "its configuration file")
    .addOption(durationOption("how long to wait", "30s"))
    .action(does(async () => (await import("./commands/node-stop.ts")).nodeStop))
  addDoctor(node, does)
}

function addDoctor(node: Command, does: Does): void {
  const doctor = node
    .command("doctor")
    .description("look for what hinders a node on this machine: disk, clock, ports, limits, tools")
    .option("--data <dir>", "its data directory")
    .option("--cluster <name>", "its cluster, where --data is not given")
    .option("--config <file>", "its configuration file")
    .option("--listen <addr[:port]>", "where other nodes will reach it")
    .option("--api <addr[:port]>", "where it answers REST, or will")
  withOutput(doctor).action(
    does(async () => (await import("./commands/node-doctor.ts")).nodeDoctor),
  )
}

function addRun(program: Command, does: Does): void {
  const run = program
    .command("run")
    .usage("[manifest] FILE [options]")
    .description("run a manifest and bring its bundle home")
    .argument("<words...>", "the manifest's file, with or without the word `manifest` before it")
    .option("--dry-run", "check everything, start nothing")
    .option("--print-plan", "show which task would go to which node, and start nothing")
    .addOption(
      new Option("--agent <role=agent>", "where a role runs; may be repeated")
        .argParser(collect)
        .default([], "as the manifest says"),
    )
    .option("--bundle-dir <dir>", "where bundles are unpacked", "runs")
    .addOption(durationOption("longest duration of the run", "30m"))
    .option("-v, --verbose", "a line for each step of each task")
    .option("--detach", "return when it is accepted")
    .option("--no-analyze", "leave out the analysis")
    .option("--no-diff", "leave out the comparison with a baseline")
    .option("--lenient", "ignore unknown keys, as the original does")
    .option("--key <key>", "idempotency key: the same key is the same run")
  withRemote(withOutput(run)).action(does(async () => (await import("./commands/run.ts")).run))
}

function addRuns(program: Command, does: Does): void {
  const runs = program.command("runs").description("runs of the cluster")
  const list = runs
    .command("list")
    .alias("ls")
    .description("list runs, newest first")
    .option("--state <state>", "only active, ending or finished ones")
    .option("--limit <count>", "at most so many", count, 50)
    .option("-q, --quiet", "ids only")
  withRemote(withOutput(list)).action(does(async () => (await import("./commands/runs.ts")).list))
  const show = runs
    .command("show")
    .description("show one run and its tasks")
    .option("--all", "every task, however many there are")
  withRemote(withOutput(show.argument("<run>", "id or label"))).action(
    does(async () => (await import("./commands/runs.ts")).show),
  )
  const wait = runs
    .command("wait")
    .description("wait for a run's verdict; exits as `troupe run` does")
    .argument("<run>", "id or label")
    .addOption(durationOption("how long to wait", "24h"))
  withRemote(withOutput(wait)).action(does(async () => (await import("./commands/runs.ts")).wait))
  const cancel = runs
    .command("cancel")
    .description("stop a run's tasks and end it")
    .argument("<run>", "id or label")
    .option("--reason <text>", "why, for the record", "by its user")
  withRemote(withOutput(cancel)).action(
    does(async () => (await import("./commands/runs.ts")).cancel),
  )
  addRetries(runs, does)
  addArtifacts(runs, does)
  for (const [name, description] of [
    ["pin", "keep a run and its bundle until it is unpinned"],
    ["unpin", "let retention decide about a run again"],
  ] as const) {
    const pin = runs.command(name).description(description).argument("<run>", "id or label")
    withRemote(withOutput(pin)).action(does(async () => (await import("./commands/runs.ts"))[name]))
  }
  addLogs(program, does)
}

function addCluster(program: Command, does: Does): void {
  const cluster = program.command("cluster").description("the nodes and how they are")
  const list = cluster.command("list").alias("ls").description("list the nodes")
  withRemote(withOutput(list)).action(
    does(async () => (await import("./commands/cluster.ts")).list),
  )
  const health = cluster
    .command("health")
    .description("say how many losses the cluster survives right now")
  withRemote(withOutput(health)).action(
    does(async () => (await import("./commands/cluster.ts")).health),
  )
  const status = cluster.command("status").description("show leader, term, voters and log")
  withRemote(withOutput(status)).action(
    does(async () => (await import("./commands/cluster.ts")).status),
  )
  const transfer = cluster
    .command("transfer")
    .description("hand leadership to another voter, and wait until it leads")
    .argument("[node]", "its name or member id; otherwise the one that is closest behind")
  withRemote(withOutput(transfer)).action(
    does(async () => (await import("./commands/cluster-hand.ts")).transfer),
  )
  const remove = cluster
    .command("remove")
    .description("take a node out for good, whether it answers or not")
    .argument("<node>", "its name or member id")
  withRemote(withOutput(remove)).action(
    does(async () => (await import("./commands/cluster-hand.ts")).remove),
  )
  addNodeWords(cluster, does)
  addRecover(cluster, does)
}

/** What somebody says of one node's work. */
function addNodeWords(cluster: Command, does: Does): void {
  const commands = async () => await import("./commands/cluster-drain.ts")
  const nodeHelp = "its name or member id"
  const cordon = cluster
    .command("cordon")
    .description("place nothing new on a node; what runs there goes on")
    .argument("<node>", nodeHelp)
    .addOption(reasonOption())
  withRemote(withOutput(cordon)).action(does(async () => (await commands()).cordon))
  const uncordon = cluster
    .command("uncordon")
    .description("place work on a node again that was cordoned or drained")
    .argument("<node>", nodeHelp)
  withRemote(withOutput(uncordon)).action(does(async () => (await commands()).uncordon))
  const drain = cluster
    .command("drain")
    .description(
      "empty a node: nothing new is placed there, services move at once, everything else may end; waits until nothing runs there",
    )
    .argument("<node>", nodeHelp)
    .addOption(
      new Option(
        "--deadline <duration>",
        "stop then what still runs, to run again elsewhere",
      ).argParser(duration),
    )
    .addOption(reasonOption())
    .addOption(durationOption("how long to wait", "24h"))
    .option("--no-wait", "return when it is under way")
  withRemote(withOutput(drain)).action(does(async () => (await commands()).drain))
  const dead = cluster
    .command("declare-dead")
    .description("give up at once what runs on a node that will not come back with it")
    .argument("<node>", nodeHelp)
    .addOption(reasonOption())
    .option("--force", "although it answers")
  withRemote(withOutput(dead)).action(does(async () => (await commands()).declareDead))
}

function addRecover(cluster: Command, does: Does): void {
  const recover = cluster
    .command("recover")
    .description(
      "when most voters are lost for good: make this stopped node's copy of the log the cluster. " +
        "Shows every copy that it can find and what may be lost, and asks first",
    )
    .option("--data <dir>", "the data directory of the stopped node")
    .option("--cluster <name>", "its cluster, where --data is not given")
    .option("--config <file>", "its configuration file")
    .addOption(
      new Option("--peer <url>", "API of another node that still runs; may be repeated")
        .argParser(collect)
        .default([], "those that it knows"),
    )
    .addOption(
      new Option("--data-dir <dir>", "another stopped node's directory here; may be repeated")
        .argParser(collect)
        .default([], "none"),
    )
    .option("--dry-run", "show what there is, change nothing")
    .option("--yes", "do not ask")
    .option("--lose-newer-entries", "even though another copy holds more: that is lost")
  withOutput(recover).action(
    does(async () => (await import("./commands/cluster-recover.ts")).recover),
  )
}

function addBundle(program: Command, does: Does): void {
  const bundle = program.command("bundle").description("bundles on this machine's disk")
  const verify = bundle
    .command("verify")
    .description("check a bundle's files against its hashes")
    .argument("<path>", "the bundle's directory")
    .option("--json", "as JSON in the original's form")
    .option("--skip-hashes", "do not hash the files")
    .option("--skip-pcaps", "do not look for packet captures")
    .option("--strict [bool]", "also require manifest_resolved.yaml", truth, true)
  withOutput(verify).action(does(async () => (await import("./commands/bundle.ts")).verify))
  const info = bundle
    .command("info")
    .description("show what a bundle says of its run")
    .argument("<path>", "the bundle's directory")
    .option("--json", "as JSON in the original's form")
  withOutput(info).action(does(async () => (await import("./commands/bundle.ts")).info))
}

function createSession(program: Command): Session {
  const environment = readCliEnvironment()
  const { color } = program.opts<{ color: boolean }>()
  const terminal = createTerminal(environment, { colour: color })
  return { terminal, environment, clock: createClock(), sources: new Map() }
}
