/** Artifacts of one task become blobs; what cannot come home is listed with its reason. */
import { isTroupeError, type Output } from "../schema/index.ts"
import type { Keeper, Parts } from "./parts.ts"

type Artifact = Awaited<ReturnType<Keeper["artifacts"]>>[number]

/** In the task's folder of the bundle: `{path, reason}`, one a line. */
export const leftOutFile = "artifacts_left_out.jsonl"
/** Names in a role's folder that the bundle itself writes. */
const reserved = new Set(["stdout.log", "stderr.log", "role_meta.json", leftOutFile])
const listedMax = 1000

interface ArtifactParts {
  readonly blobs: Pick<Parts["blobs"], "put">
  readonly keeper: Pick<Keeper, "content">
  readonly logger: Pick<Parts["logger"], "warn">
}

interface LeftOut {
  readonly path: string
  readonly reason: string
}

/** `room`: how many outputs may be reported. */
export async function keepArtifacts(
  found: {
    readonly folder: string
    readonly artifacts: readonly Artifact[]
    readonly room: number
  },
  parts: ArtifactParts,
): Promise<readonly Output[]> {
  const { folder, artifacts, room } = found
  const outputs: Output[] = []
  const leftOut: LeftOut[] = []
  for (const { path, file, bytes, problem } of artifacts) {
    if (problem !== undefined) leftOut.push({ path, reason: problem })
    else if (reserved.has(path))
      leftOut.push({ path, reason: "the bundle has a file of its own there" })
    // One is for the list itself.
    else if (outputs.length >= room - 1) leftOut.push({ path, reason: "there are too many" })
    else {
      const kept = await keepOne({ path: `${folder}/${path}`, file }, parts)
      if ("reason" in kept) leftOut.push({ path, reason: kept.reason })
      else {
        outputs.push(kept)
        if (kept.bytes === bytes) continue
        const reason = `it changed while it was collected: ${kept.bytes} bytes came home, it had ${bytes}`
        leftOut.push({ path, reason })
      }
    }
  }
  if (leftOut.length === 0) return outputs
  parts.logger.warn("artifacts do not come home as they were", { folder, count: leftOut.length })
  const lines = leftOut.slice(0, listedMax).map((one) => `${JSON.stringify(one)}\n`)
  const more = leftOut.length - listedMax
  const last = more > 0 ? `${JSON.stringify({ more })}\n` : ""
  const list = [Buffer.from(lines.join("") + last)]
  const { digest, bytes } = await parts.blobs.put(inPieces(list))
  return [...outputs, { path: `${folder}/${leftOutFile}`, digest, bytes }]
}

/** A file that cannot be read is no reason to lose the others; a blob store that cannot write is. */
async function keepOne(
  { path, file }: { readonly path: string; readonly file: string },
  { blobs, keeper }: ArtifactParts,
): Promise<Output | { readonly reason: string }> {
  try {
    const { digest, bytes } = await blobs.put(keeper.content(file))
    return { path, digest, bytes }
  } catch (error) {
    const isOwn =
      isTroupeError(error) && error.code === "ERR_STORAGE" && error.details.path === file
    if (!isOwn) throw error
    return { reason: error.details.reason }
  }
}

async function* inPieces(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}
