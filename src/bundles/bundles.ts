/** The bundle work of a node, over blobs: describe, analyse, compare, seal. */
import { createHash } from "node:crypto"
import { setImmediate } from "node:timers/promises"
import { compareSummaries } from "./compare.ts"
import { type BundleInput, describeBundle } from "./describe.ts"
import { formatGoJson } from "./go-json.ts"
import { byPath, formatHashes, formatSums, hashesFile, sumsFile } from "./hashes.ts"
import { archivePath, invalidBundle } from "./paths.ts"
import { summarise } from "./summary.ts"
import { type BundleFile, packTar, readTar } from "./tar.ts"

/** What is needed of a blob store. */
export interface BundleBlobs {
  put(source: AsyncIterable<Uint8Array>): Promise<{ digest: string; bytes: number }>
  read(digest: string): AsyncIterable<Uint8Array>
}

export interface BundleTree {
  readonly files: readonly { path: string; digest: string; bytes: number }[]
}

/** Nothing here is kept between calls; all of it streams, a piece of at most 256 KiB at a time. */
export interface Bundles {
  /** manifest_resolved.yaml, run_meta.json, versions.json and each role's role_meta.json. */
  describe(input: BundleInput): Promise<readonly { path: string; content: Uint8Array }[]>
  /** The content of analysis/summary.json. */
  analyze(tree: BundleTree, input: BundleInput): Promise<Uint8Array>
  /** The content of analysis/diff.json; `baseline` is the digest of a packed bundle. ERR_BUNDLE_INVALID. */
  diff(tree: BundleTree, baseline: string): Promise<Uint8Array>
  /** Adds SHA256SUMS and hashes.txt last and packs `<label>/…`; the same tree gives the same bytes. */
  seal(tree: BundleTree, label: string): Promise<{ digest: string; bytes: number; files: number }>
}

export function createBundles({
  blobs,
  pause = setImmediate,
}: {
  readonly blobs: BundleBlobs
  /** Between pieces of work; a turn of the event loop unless a simulation has its own. */
  readonly pause?: () => Promise<void>
}): Bundles {
  const filesOf = (tree: BundleTree): BundleFile[] =>
    tree.files.map(({ path, digest, bytes }) => ({ path, bytes, read: () => blobs.read(digest) }))
  return {
    // Formatting only; a promise because the port allows for a thread.
    describe: (input) => Promise.resolve(describeBundle(input)),
    async analyze(tree) {
      return Buffer.from(formatGoJson(await summarise(eachOf(filesOf(tree)), pause)))
    },
    async diff(tree, baseline) {
      const packed = readTar(blobs.read(baseline), "the baseline bundle")
      const before = await summarise(belowRoot(packed), pause)
      const now = await summarise(eachOf(filesOf(tree)), pause)
      return Buffer.from(formatGoJson(compareSummaries(before, now)))
    },
    seal: (tree, label) => seal(tree, { label, blobs }),
  }
}

async function* eachOf(files: readonly BundleFile[]): AsyncGenerator<BundleFile> {
  yield* files
}

async function* belowRoot(files: AsyncIterable<BundleFile>): AsyncGenerator<BundleFile> {
  for await (const file of files) {
    yield { ...file, path: file.path.slice(file.path.indexOf("/") + 1) }
  }
}

async function seal(
  tree: BundleTree,
  { label, blobs }: { readonly label: string; readonly blobs: BundleBlobs },
): Promise<{ digest: string; bytes: number; files: number }> {
  const named = nameFiles(tree.files)
  const sums = textFile(sumsFile, formatSums(named))
  const hashes = textFile(hashesFile, formatHashes([...named, sums]))
  const files: BundleFile[] = [
    ...named.map(({ path, digest, bytes }) => ({ path, bytes, read: () => blobs.read(digest) })),
    sums,
    // Last: what was cut off on its way has no hashes and verifies as nothing.
    hashes,
  ].map((file) => ({ path: `${label}/${file.path}`, bytes: file.bytes, read: file.read }))
  const { digest, bytes } = await blobs.put(packTar(files))
  return { digest, bytes, files: files.length }
}

/** Sorted, with names that every verifier reads alike; the lists of hashes are ours to write. */
function nameFiles(files: BundleTree["files"]): BundleTree["files"] {
  const taken = new Set<string>([sumsFile, hashesFile])
  const named = files.filter(({ path }) => !taken.has(path)).toSorted(byPath)
  const renamed = named.map((file) => {
    let path = archivePath(file.path)
    if (taken.has(path) && path === file.path) {
      throw invalidBundle(path, "stands in the bundle twice")
    }
    while (taken.has(path)) path += "~"
    taken.add(path)
    return { ...file, path }
  })
  return renamed.toSorted(byPath)
}

function textFile(path: string, text: string): BundleFile & { readonly digest: string } {
  const content = Buffer.from(text)
  const digest = createHash("sha256").update(content).digest("hex")
  return {
    path,
    bytes: content.length,
    digest,
    read: async function* () {
      yield content
    },
  }
}
