/** Handing in a run: its files first, then the manifest under a key that makes asking twice harmless. */
import { createHash } from "node:crypto"
import { packDirectory } from "../bundles/index.ts"
import type { Client, Submitted } from "../client/index.ts"
import { type Digest, isTroupeError, type PlanView, type SubmitRunInput } from "../schema/index.ts"
import type { ManifestInput } from "./manifest-input.ts"

export interface SubmitOptions {
  readonly agents: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly lenient: boolean
  readonly analyze: boolean
  readonly diff: boolean
  readonly signal: AbortSignal
}

interface Upload {
  readonly digest: Digest
  /** Read anew for each try. */
  readonly body: () => Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array>
}

const uploadTries = 3

/** The same key again is the same run, so the client asks again until it knows. */
export async function submit(
  client: Client,
  input: ManifestInput,
  options: SubmitOptions & { key: string },
): Promise<Submitted> {
  const files = await namedFiles(input)
  for (const upload of files.uploads) await send(client, upload, options.signal)
  const { key, signal } = options
  return await client.submitRun(request(input, files.named, options), { key, signal })
}

/** Changes nothing: files are sent only if the node cannot say anything without them. */
export async function planOf(
  client: Client,
  input: ManifestInput,
  options: SubmitOptions,
): Promise<PlanView> {
  const files = await namedFiles(input)
  const { signal } = options
  const body = request(input, files.named, options)
  try {
    return await client.planRun(body, { signal })
  } catch (error) {
    if (!isTroupeError(error) || error.code !== "ERR_BLOB_NOT_FOUND") throw error
    for (const upload of files.uploads) await send(client, upload, signal)
    return await client.planRun(body, { signal })
  }
}

function request(
  input: ManifestInput,
  files: NonNullable<SubmitRunInput["files"]>,
  options: SubmitOptions,
): SubmitRunInput {
  const { agents, timeoutMs, lenient, analyze, diff } = options
  return {
    document: input.text,
    file: input.file,
    agents,
    files,
    timeoutMs,
    lenient,
    analyze,
    diff,
  }
}

async function namedFiles(input: ManifestInput): Promise<{
  named: NonNullable<SubmitRunInput["files"]>
  uploads: readonly Upload[]
}> {
  const named = Object.fromEntries(
    input.files.map(({ path, digest, content, absolute }) => [
      path,
      { digest, bytes: content.length, absolute },
    ]),
  )
  const uploads: Upload[] = input.files.map(({ digest, content }) => ({
    digest,
    body: () => content,
  }))
  if (input.baseline) {
    const { path, absolute } = input.baseline
    // Packed twice, for its digest and for the wire: the same files give the same bytes, and no disk is needed.
    const hash = createHash("sha256")
    let bytes = 0
    for await (const piece of packDirectory(absolute)) {
      hash.update(piece)
      bytes += piece.length
    }
    const digest = hash.digest("hex")
    named[path] = { digest, bytes, absolute }
    uploads.push({ digest, body: () => packDirectory(absolute) })
  }
  return { named, uploads }
}

/** By its digest an upload is the same however often it arrives. */
async function send(client: Client, upload: Upload, signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.putBlob(upload.digest, upload.body(), { signal })
      return
    } catch (error) {
      const again = isTroupeError(error) && error.code === "ERR_UNKNOWN_OUTCOME"
      if (!again || tries === uploadTries) throw error
    }
  }
}
