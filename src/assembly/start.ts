/** From a Config to a running node: the only place that names the real parts. */
import { join } from "node:path"
import { createApi } from "../api/index.ts"
import { createBundles } from "../bundles/index.ts"
import { build, type Config, isLoopback } from "../config/index.ts"
import { createKeeper } from "../keeper/index.ts"
import { createMesh, generateKey } from "../mesh/index.ts"
import { createNode, type NodeOptions, type Parts, timingFrom } from "../node/index.ts"
import {
  createClock,
  createLogger,
  createLoopProbe,
  createRandom,
  loopOfThisProcess,
} from "../platform/index.ts"
import { gpusLabel, limitLabels } from "../schema/index.ts"
import {
  blobFile,
  createBlobStore,
  createIdentityStore,
  createLocalStore,
  createLogStore,
  createSnapshotStore,
  createTableStore,
  loadKey,
  lockDirectory,
} from "../storage/index.ts"
import { createTransfer } from "../transfer/index.ts"
import { countGpus } from "./gpus.ts"
import { hostAbilities } from "./host-abilities.ts"
import { thisHost } from "./host.ts"

export interface RunningNode {
  readonly name: string
  readonly peerId: string
  readonly apiUrl: string
  /** Multiaddrs of the mesh. */
  readonly addresses: readonly string[]
  stop(reason: string): Promise<void>
  /** The exit code of the process, when the node has ended. */
  readonly done: Promise<number>
}

/** Tests hold a run in a phase; production has none. */
export interface AssemblyHooks {
  readonly hold?: Parts["hold"]
}

/** ERR_STORAGE (directory in use), ERR_ADDRESS_IN_USE, ERR_LOG_CORRUPT. A failed start stops what it started. */
export async function startNode(config: Config, hooks: AssemblyHooks = {}): Promise<RunningNode> {
  const undo: (() => Promise<void> | void)[] = []
  try {
    return await assemble(config, hooks, undo)
  } catch (error) {
    for (const step of undo.toReversed()) await step()
    throw error
  }
}

async function assemble(
  config: Config,
  hooks: AssemblyHooks,
  undo: (() => Promise<void> | void)[],
): Promise<RunningNode> {
  const clock = createClock()
  const random = createRandom()
  const directory = config.data
  const logger = createLogger({
    level: config.logLevel,
    ...(config.logFile !== undefined && { file: config.logFile }),
  }).child({ node: config.name })
  const lock = await lockDirectory(directory)
  undo.push(() => lock.unlock())
  const loop = createLoopProbe({ clock, logger, ...loopOfThisProcess })
  undo.push(() => loop.stop())

  const ended = Promise.withResolvers<number>()
  const blobs = createBlobStore({ directory })
  const mesh = createMesh(
    {
      privateKey: await loadKey(directory, generateKey),
      listen: [multiaddr(config.listen)],
      cluster: config.cluster,
      seeds: config.join,
      mdns: config.mdns,
    },
    { clock, random, logger },
  )
  const transfer = createTransfer(
    { directory: join(directory, "partial") },
    { blobs, mesh, clock, logger },
  )
  const keeper = createKeeper({ directory, clock, logger })
  const parts: Parts = {
    clock,
    random,
    logger,
    stores: () => ({
      log: createLogStore({ directory }),
      tables: createTableStore({ directory }),
      snapshots: createSnapshotStore({ directory }),
    }),
    local: createLocalStore({ directory }),
    identity: createIdentityStore({ directory }),
    blobs,
    mesh,
    transfer,
    keeper,
    bundles: createBundles({ blobs }),
    host: thisHost({ data: directory, path: process.env["PATH"] ?? "", now: () => clock.now() }),
    loop,
    blobFile: (digest) => blobFile(directory, digest),
    fatal: (exitCode, error) => {
      logger.error("this node must stop", { exitCode, error: error.stack ?? error.message })
      ended.resolve(exitCode)
    },
    ...(hooks.hold && { hold: hooks.hold }),
  }
  const gpus = await countGpus(process.env["PATH"] ?? "")
  const node = createNode(optionsOf(config, gpus), parts)
  undo.push(() => node.stop())
  await node.start()
  const api = createApi(
    { host: config.api.host, port: config.api.port, version: build.version },
    { face: node, clock, logger },
  )
  const { url } = await api.start()
  const stop = async (): Promise<void> => {
    // First of all: who has sent a request here is answered, and who asks elsewhere meets the next leader.
    await node.handOver()
    await api.stop()
    // With no job left there is nothing to keep; with one, it stays and finishes it.
    await keeper.shutdown().catch((error: unknown) => {
      logger.debug("the keeper did not answer at the end", { error: String(error) })
    })
    await node.stop()
    loop.stop()
    await lock.unlock()
    ended.resolve(0)
  }
  return {
    name: config.name,
    peerId: mesh.peerId,
    apiUrl: url,
    addresses: mesh.addresses(),
    stop,
    done: ended.promise,
  }
}

function optionsOf(config: Config, gpus: number): NodeOptions {
  const { name, cluster, labels, voter, capacity, join: seeds, timing, api } = config
  return {
    name,
    cluster,
    // A manifest's limits can be enforced here, or not: said so that work can be placed around it.
    labels: {
      // What a hand has said of GPUs holds.
      ...(gpus > 0 && { [gpusLabel]: String(gpus) }),
      ...labels,
      ...limitLabels(hostAbilities().limits.enforced),
    },
    voter,
    capacity,
    version: build.version,
    apiUrl: isLoopback(api.host) ? "" : `http://${api.host}:${api.port}`,
    hasSeeds: seeds.length > 0,
    expect: config.expect,
    timing: timingFrom(timing),
    retention: config.retention,
    streamBytesMax: config.streamBytesMax,
    ...(build.versions && { versions: build.versions }),
  }
}

function multiaddr({ host, port }: Config["listen"]): string {
  return `/${host.includes(":") ? "ip6" : "ip4"}/${host}/tcp/${port}`
}
