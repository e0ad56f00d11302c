/** This machine, as the node declares it: what it is, what it has, which tools are on its PATH. */
import { availableParallelism, freemem, hostname, loadavg, totalmem } from "node:os"
import { hasTool } from "../keeper/index.ts"
import type { HostFacts } from "../node/index.ts"
import { diskSpace } from "../storage/index.ts"

/** Programs that manifests ask for most; any other is looked for once a manifest has named it. */
const knownTools = [
  "bash",
  "cipdip",
  "curl",
  "docker",
  "ffmpeg",
  "gcc",
  "git",
  "go",
  "iperf3",
  "java",
  "make",
  "node",
  "nvidia-smi",
  "openssl",
  "perl",
  "podman",
  "python3",
  "rsync",
  "ssh",
  "tailscale",
  "tcpdump",
  "tshark",
  "wg",
]
const toolsFreshMs = 60_000

export function thisHost(options: { data: string; path: string; now: () => number }): HostFacts {
  const wanted = new Set(knownTools)
  let tools: readonly string[] = []
  let readAt = Number.NEGATIVE_INFINITY
  return {
    hostname: hostname(),
    os: process.platform,
    arch: process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    tools() {
      if (options.now() - readAt > toolsFreshMs) {
        readAt = options.now()
        tools = [...wanted].toSorted().filter((tool) => hasTool(tool, options.path))
      }
      return tools
    },
    lookFor(names) {
      for (const name of names) wanted.add(name)
      readAt = Number.NEGATIVE_INFINITY
    },
    sample() {
      const { freeBytes, totalBytes } = diskSpace(options.data)
      return {
        freeMemoryBytes: freemem(),
        load1: loadavg()[0] ?? 0,
        diskFreeBytes: freeBytes,
        diskTotalBytes: totalBytes,
      }
    },
  }
}
