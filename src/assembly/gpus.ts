/** How many GPUs this machine has, as NVIDIA's own tool lists them. */
import { hasTool } from "../keeper/index.ts"
import { runTool } from "../platform/index.ts"

const tool = "nvidia-smi"
/** A driver that must be loaded first takes some seconds. */
const listMs = 10_000

/** 0 where the tool is missing or finds no driver: then a label says it, or nobody. */
export async function countGpus(path: string): Promise<number> {
  if (!hasTool(tool, path)) return 0
  try {
    const { exitCode, stdout } = await runTool(tool, ["-L"], {
      timeoutMs: listMs,
      env: { PATH: path },
    })
    return exitCode === 0 ? stdout.split("\n").filter((line) => /^GPU \d+:/.test(line)).length : 0
  } catch {
    // It could not be started or hung: a node without known GPUs is still a node.
    return 0
  }
}
