/** What a role may use at most. */
import type { Limits } from "../schema/index.ts"
import type { Reading } from "./document.ts"
import { fieldAt, readInt, readSection, readText, report, type Section } from "./reader.ts"
import { parseSize } from "./size.ts"

const limitKeys = ["memory", "cpus", "pids", "open_files"] as const
/** Less than this no program starts in. */
const memoryBytesMin = 1 << 20
const cpusMin = 0.01
const cpusMax = 100_000

/** Undefined when nothing is limited. */
export function readLimits(reading: Reading, role: Section): Limits | undefined {
  const section = readSection(reading, { section: role, key: "limits" }, limitKeys)
  const memoryBytes = readMemory(reading, section)
  const cpus = readCpus(reading, section)
  const pids = readInt(reading, section, { key: "pids", min: 1, max: 4_194_304 })
  const openFiles = readInt(reading, section, { key: "open_files", min: 16, max: 1_073_741_816 })
  const limits: Limits = {
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(cpus !== undefined && { cpus }),
    ...(pids !== undefined && { pids }),
    ...(openFiles !== undefined && { openFiles }),
  }
  return Object.keys(limits).length === 0 ? undefined : limits
}

function readMemory(reading: Reading, section: Section): number | undefined {
  const text = readText(reading, section, "memory")
  if (text === undefined) return undefined
  const bytes = parseSize(text)
  if (bytes !== undefined && bytes >= memoryBytesMin) return bytes
  const wrong =
    bytes === undefined ? `must be a size, got '${text}'` : `must be at least 1MiB, got '${text}'`
  const message = `${wrong}; write e.g. 512MiB or 2GiB`
  report(reading, fieldAt(reading, section, "memory"), message)
  return undefined
}

function readCpus(reading: Reading, section: Section): number | undefined {
  const text = readText(reading, section, "cpus")
  if (text === undefined) return undefined
  const cpus = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (cpus >= cpusMin && cpus <= cpusMax) return cpus
  const message = `must be a number of cores from ${cpusMin} to ${cpusMax}, got '${text}'; write e.g. 0.5 or 2`
  report(reading, fieldAt(reading, section, "cpus"), message)
  return undefined
}

/** In the manifest's own words, for manifest_resolved.yaml. */
export function limitFields({ memoryBytes, cpus, pids, openFiles }: Limits): {
  readonly memory: string | undefined
  readonly cpus: number | undefined
  readonly pids: number | undefined
  readonly open_files: number | undefined
} {
  const memory = memoryBytes === undefined ? undefined : String(memoryBytes)
  return { memory, cpus, pids, open_files: openFiles }
}
