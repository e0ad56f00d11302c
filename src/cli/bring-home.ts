/** Bringing a run's bundle home: streamed, unpacked, checked against its digest, verified. */
import { createHash } from "node:crypto"
import { basename, join } from "node:path"
import { unpackBundle, verifyBundle, type VerifyReport, zipDirectory } from "../bundles/index.ts"
import type { Client } from "../client/index.ts"
import { type ErrorCode, isTroupeError, type RunView, TroupeError } from "../schema/index.ts"
import { errorExit, exitCodes } from "./exit.ts"
import { freePath } from "./free-path.ts"
import type { Session } from "./session.ts"

/** What came home. */
export interface Home {
  /** The unpacked bundle's directory. */
  readonly path?: string
  /** Beside it, where the manifest asks for a zip. */
  readonly zip?: string
  /** For people: how it was verified. */
  readonly verified?: string
  readonly valid: boolean
  /** Why there is no bundle, or what is wrong with it. */
  readonly problem?: string
  /** Of the command when the run itself succeeded. */
  readonly exitCode: number
}

const downloadTries = 3
const passingCodes = new Set<ErrorCode>([
  "ERR_BLOB_CORRUPT",
  "ERR_BUNDLE_INVALID",
  "ERR_PEER_UNREACHABLE",
])

/** Never throws for what is wrong with the bundle: the run's verdict stands, and is shown. */
export async function bringHome(
  client: Client,
  view: RunView,
  options: { session: Session; bundleDir: string; format: "dir" | "zip"; signal: AbortSignal },
): Promise<Home> {
  if (view.bundle === undefined) {
    return { valid: false, problem: "the run left no bundle", exitCode: exitCodes.lost }
  }
  try {
    const path = await download(client, view, options)
    if (basename(path) !== view.label) {
      const taken = join(options.bundleDir, view.label)
      options.session.terminal.tell(`warning: ${taken} holds another bundle; this one is ${path}`)
    }
    const report = await verifyBundle(path)
    const zip = options.format === "zip" ? `${path}.zip` : undefined
    if (zip !== undefined) await zipDirectory(path, zip)
    return {
      path,
      ...(zip !== undefined && { zip }),
      valid: report.Valid,
      verified: verifiedWords(report),
      ...(!report.Valid && { problem: `the bundle does not verify: ${report.Errors.join("; ")}` }),
      exitCode: report.Valid ? exitCodes.ok : exitCodes.mismatch,
    }
  } catch (error) {
    options.signal.throwIfAborted()
    if (!isTroupeError(error)) throw error
    const problem = `the bundle did not come home: ${error.message}`
    return { valid: false, problem, exitCode: errorExit[error.code] }
  }
}

/** Nothing that is there is ever written over: the next free of `<label>`, `<label>-2`, … is taken. */
async function download(
  client: Client,
  view: RunView,
  options: { bundleDir: string; signal: AbortSignal },
): Promise<string> {
  const { bundleDir, signal } = options
  for (let tries = 1; ; tries++) {
    const path = freePath(join(bundleDir, view.label))
    try {
      const stream = await client.bundle(view.id, { signal })
      await unpackBundle(checkedBytes(stream), path)
      return path
    } catch (error) {
      signal.throwIfAborted()
      if (tries === downloadTries || !isPassing(error)) throw error
    }
  }
}

/** Throws at the end of a stream that is not what the node says it is: then nothing is put in place. */
async function* checkedBytes(stream: {
  digest: string
  read: AsyncIterable<Uint8Array>
}): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256")
  for await (const piece of stream.read) {
    hash.update(piece)
    yield piece
  }
  const actual = hash.digest("hex")
  if (actual === stream.digest) return
  throw new TroupeError("ERR_BLOB_CORRUPT", "the bundle was changed on its way", {
    expected: stream.digest,
    actual,
  })
}

/** A broken connection or damaged bytes are worth another try; a full disk is not. */
function isPassing(error: unknown): boolean {
  if (isTroupeError(error)) return passingCodes.has(error.code)
  return error instanceof Error && !("syscall" in error)
}

function verifiedWords(report: VerifyReport): string {
  if (!report.Valid) return "no"
  return `${report.FilesChecked} files, ${report.HashesVerified} hashes`
}
