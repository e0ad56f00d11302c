/** The keeper program: owns a data directory's jobs and outlives the node that started it. */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { dirname } from "node:path"
import { parseArgs } from "node:util"
import type { Timer } from "../platform/index.ts"
import { Book } from "./book.ts"
import { Berth } from "./berth.ts"
import { type Cage, findCgroups } from "./cgroups.ts"
import { createKeeperClock } from "./clock.ts"
import { baseEnvironment, findCommand, findShell } from "./command.ts"
import { buildOf, heritageOf } from "./generations.ts"
import { findLimits } from "./limits.ts"
import { Journal, keepDamaged, readJournal } from "./journal.ts"
import { takeLock } from "./lock.ts"
import { keeperPaths, shortHash, socketPath } from "./paths.ts"
import { readBootId } from "./process-table.ts"
import { KeeperServer } from "./server.ts"
import { LocalSpawner } from "./spawner.ts"
import { SpawnerPool } from "./spawner-pool.ts"
import { RemoteSpawner, serveSpawner } from "./spawner-process.ts"
import { SpareFiles } from "./spare-files.ts"
import { makeFolders, removeOrphans } from "./staging.ts"
import { Sweeper } from "./sweeper.ts"
import { Supervisor } from "./supervisor.ts"

/** Another keeper holds the lock: the client that started us finds it. */
const exitHeld = 75
/** Only a newer program understands what stands in the journal. */
const exitNewer = 76

function log(message: string, fields: Record<string, unknown> = {}): void {
  const line = { time: Date.now(), pid: process.pid, msg: message, ...fields }
  process.stderr.write(`${JSON.stringify(line)}\n`)
}

interface Options {
  readonly directory: string
  readonly generation: number
  readonly build: string
  /** Without clients and live jobs it leaves after this. */
  readonly lingerMs: number
  /** Only this kind of cgroup, or `session` for none. */
  readonly trees: string | undefined
  readonly spawners: number
}

async function main(options: Options): Promise<void> {
  const { directory, generation, lingerMs, trees, spawners } = options
  process.title = "troupe-keeper"
  const paths = keeperPaths(directory, generation)
  mkdirSync(paths.root, { recursive: true, mode: 0o700 })
  chmodSync(paths.root, 0o700)
  const bootId = readBootId()
  const held = takeLock(paths.root, bootId)
  if (held) {
    log("another keeper is there", held)
    process.exit(exitHeld)
  }
  makeFolders(paths)
  const clock = createKeeperClock()
  const book = new Book()
  const { records, end } = readJournal(paths.journal)
  if (end === "newer") {
    log("the journal is of a newer version of this program", { journal: paths.journal })
    process.exit(exitNewer)
  }
  if (records.length === 0) {
    for (const record of heritageOf(directory, generation)) book.apply(record)
  }
  if (end === "damaged")
    log("journal is damaged", { kept: keepDamaged(paths.journal, clock.now()) })
  for (const record of records) book.apply(record)
  const journal = new Journal(paths.journal)
  await journal.rewrite(() => book.records())

  const cgroups = findCgroups(cgroupName(paths.root), trees)
  cgroups?.sweep()
  const limits = findLimits(`${cgroupName(paths.root)}-limits`, findShell())
  const setpriv = findSetpriv()
  const supervisor: Supervisor = new Supervisor(book, {
    paths,
    clock,
    journal,
    cgroups,
    limits,
    spares: cgroups && new SpareFiles(paths.spare),
    sweeper: cgroups ? undefined : new Sweeper(clock),
    bootId,
    setpriv,
    log,
    spawner: new SpawnerPool({
      clock,
      local: new LocalSpawner(cgroups && new Berth(cgroups)),
      remotesMax: spawners - 1,
      start(gone) {
        log("another spawner is started")
        return new RemoteSpawner(process.argv[1]!, cgroups, gone)
      },
    }),
    environment: baseEnvironment(process.env),
    changed: (attempt) => server.tell(attempt),
  })

  let idle: Timer | undefined
  const leave = async () => {
    await server.close()
    await journal.close()
    cgroups?.leave()
    cgroups?.close()
    limits.close()
    rmSync(socket.path, { force: true })
    log("left")
    process.exit(0)
  }
  // Endings that nobody has asked for yet are on the disk: the next keeper tells them.
  const leaveIfIdle = () => {
    idle?.cancel()
    idle = clock.after(lingerMs, () => {
      if (supervisor.live === 0) void leave()
      else leaveIfIdle()
    })
  }
  const server = new KeeperServer({
    supervisor,
    log,
    build: options.build,
    status: () => ({
      live: supervisor.live,
      known: supervisor.known,
      rssBytes: process.memoryUsage.rss(),
      trees: cgroups?.cage.kind ?? "session",
      parentDeathSignal: setpriv !== undefined,
    }),
    clients(count) {
      if (count === 0) leaveIfIdle()
      else idle?.cancel()
    },
    shutdown() {
      const leaves = supervisor.live === 0
      // After the answer is out.
      if (leaves) clock.after(0, () => void leave())
      return leaves
    },
  })
  await supervisor.recover()
  const socket = socketPath(paths, process.env["XDG_RUNTIME_DIR"])
  if (socket.short) prepareShort(socket.path, paths.socketPointer)
  await server.listen(socket.path)
  leaveIfIdle()
  await removeOrphans(paths, supervisor.files(), clock.now())
  process.on("SIGTERM", () => void leave())
  process.on("SIGHUP", () => undefined)
  const { enforced } = limits.abilities
  const kind = cgroups?.cage.kind ?? "session"
  log("keeper started", { bootId, trees: kind, limits: enforced, known: supervisor.known })
}

/** The folder may lie in a directory that everybody can write to: it must be ours alone. */
function prepareShort(path: string, pointer: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  chmodSync(dirname(path), 0o700)
  writeFileSync(pointer, path, { mode: 0o600 })
}

function findSetpriv(): string | undefined {
  const command = findCommand("setpriv", "/", baseEnvironment(process.env))
  if ("problem" in command) return undefined
  const tried = spawnSync(command.file, ["--pdeathsig", "KILL", "true"], { stdio: "ignore" })
  return tried.status === 0 ? command.file : undefined
}

function cgroupName(root: string): string {
  return `troupe-${shortHash(root)}`
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    "linger-ms": { type: "string", default: "15000" },
    trees: { type: "string" },
    generation: { type: "string", default: "1" },
    /** Stands for this program's bytes. */
    build: { type: "string" },
    /** How many processes may spawn at most, this one included. */
    spawners: { type: "string", default: availableParallelism() > 4 ? "3" : "2" },
    /** Not a keeper: one of its further spawners. */
    spawner: { type: "boolean", default: false },
    /** As JSON: the cgroups that it spawns into. */
    cage: { type: "string" },
  },
})
const [directory] = positionals
if (directory === undefined) {
  process.stderr.write("usage: keeper [--linger-ms N] [--trees KIND] [--spawners N] DIRECTORY\n")
  process.exit(2)
}
if (values.spawner) {
  process.title = "troupe-spawner"
  serveSpawner(values.cage === undefined ? undefined : (JSON.parse(values.cage) as Cage))
} else {
  await main({
    directory,
    generation: Number(values.generation),
    build: values.build ?? buildOf(process.argv[1]!),
    lingerMs: Number(values["linger-ms"]),
    trees: values.trees,
    spawners: Number(values.spawners),
  })
}
