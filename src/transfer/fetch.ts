/** Fetching one blob: peers in turn, going on where the last one broke off, verified by the store at the end. */
import { isTroupeError, type PeerRef, TroupeError } from "../schema/index.ts"
import { Partial } from "./partial.ts"
import { encodeRequest, readAnswer } from "./protocol.ts"
import { watchStall } from "./stall.ts"
import { blobProtocol, type TransferParts, transferLimits } from "./types.ts"

interface Fetch {
  readonly digest: string
  readonly peers: readonly PeerRef[]
  readonly signal: AbortSignal
  readonly partial: Partial
  /** Bytes handed to the store in this pass. */
  received: number
}

export async function fetchBlob(
  digest: string,
  peers: readonly PeerRef[],
  parts: TransferParts & { directory: string },
  signal: AbortSignal,
): Promise<{ bytes: number }> {
  const partial = new Partial(parts.directory, digest)
  await partial.look()
  const continued = partial.size > 0
  try {
    const fetch = { digest, peers, signal, partial, received: 0 }
    const { bytes } = await parts.blobs.put(bytesOf(fetch, parts), digest)
    await partial.drop()
    return { bytes }
  } catch (error) {
    if (!isTroupeError(error)) throw error
    const wrongHalf = continued && error.code === "ERR_PROTOCOL"
    if (error.code !== "ERR_BLOB_CORRUPT" && !wrongHalf) throw error
    // One of several sources was wrong, and nothing tells which: each alone, from the start.
    await partial.drop()
    return await fetchFromEach({ digest, peers, signal, partial, received: 0 }, parts, error)
  } finally {
    await partial.close()
  }
}

async function fetchFromEach(
  fetch: Fetch,
  parts: TransferParts,
  corrupt: Error,
): Promise<{ bytes: number }> {
  let failure = corrupt
  for (const peer of fetch.peers) {
    const alone = { ...fetch, peers: [peer], received: 0 }
    try {
      const { bytes } = await parts.blobs.put(bytesOf(alone, parts), fetch.digest)
      return { bytes }
    } catch (error) {
      fetch.signal.throwIfAborted()
      if (isTroupeError(error) && error.code === "ERR_BLOB_CORRUPT") {
        parts.logger.warn("a peer holds a corrupt blob", { peer: peer.peerId, ...error.details })
        failure = error
      }
    } finally {
      await fetch.partial.drop()
    }
  }
  throw failure
}

/** The bytes from first to last, whoever they come from. */
async function* bytesOf(fetch: Fetch, parts: TransferParts): AsyncGenerator<Uint8Array> {
  if (fetch.partial.size > 0) {
    for await (const chunk of fetch.partial.read()) {
      fetch.received += chunk.length
      yield chunk
    }
  }
  let wait: number = transferLimits.busyMinMs
  for (;;) {
    const failures: unknown[] = []
    const before = fetch.received
    let busy = false
    for (const peer of fetch.peers) {
      const outcome = yield* bytesFrom(peer, fetch, parts)
      if (outcome === "whole") return
      if (outcome === "busy") busy = true
      if (typeof outcome === "object") failures.push(outcome.error)
    }
    const progress = fetch.received > before
    if (progress) wait = transferLimits.busyMinMs
    else if (!busy) throw nobodyHas(fetch.digest, failures)
    await parts.clock.sleep(wait, { signal: fetch.signal })
    wait = Math.min(wait * 2, transferLimits.busyMaxMs)
  }
}

type Outcome = "whole" | "missing" | "busy" | { readonly error: unknown }

async function* bytesFrom(
  peer: PeerRef,
  fetch: Fetch,
  parts: TransferParts,
): AsyncGenerator<Uint8Array, Outcome> {
  const { clock, logger, mesh } = parts
  const limit = clock.timeoutSignal(transferLimits.openMs, `reaching ${peer.peerId}`)
  const opened = await outcomeOf(
    mesh.openStream(peer, blobProtocol, { signal: AbortSignal.any([fetch.signal, limit]) }),
  )
  fetch.signal.throwIfAborted()
  if ("error" in opened) return opened
  const stream = opened.value
  const abort = () => stream.abort(fetch.signal.reason as Error)
  fetch.signal.addEventListener("abort", abort, { once: true })
  const watch = watchStall(clock, `blob ${fetch.digest}`, (error) => stream.abort(error))
  const source = stream.read[Symbol.asyncIterator]()
  try {
    const asked = await outcomeOf(ask(stream, source, fetch))
    if ("error" in asked) return asked
    const { answer, rest } = asked.value
    if (answer.status !== "found") return answer.status
    if (answer.bytes < fetch.received) return tooShort(peer, answer.bytes)
    for (let chunk = rest; ;) {
      if (fetch.received + chunk.length > answer.bytes) return tooShort(peer, answer.bytes)
      watch.rest()
      if (chunk.length > 0) yield* kept(chunk, answer.bytes, fetch)
      if (fetch.received === answer.bytes) return "whole"
      watch.touch()
      const next = await outcomeOf(source.next())
      fetch.signal.throwIfAborted()
      if ("error" in next) return next
      if (next.value.done) return tooShort(peer, answer.bytes)
      chunk = next.value.value
    }
  } finally {
    watch.stop()
    fetch.signal.removeEventListener("abort", abort)
    stream.abort(new Error("done with this stream"))
    logger.debug("bytes of a blob came", {
      peer: peer.peerId,
      digest: fetch.digest,
      received: fetch.received,
    })
  }
}

async function ask(
  stream: { write(chunk: Uint8Array): Promise<void>; end(): Promise<void> },
  source: AsyncIterator<Uint8Array>,
  fetch: Fetch,
): ReturnType<typeof readAnswer> {
  await stream.write(encodeRequest({ digest: fetch.digest, offset: fetch.received }))
  await stream.end()
  return await readAnswer(source)
}

/** Large blobs are kept on the way, so that neither a broken connection nor our own end costs all of it. */
async function* kept(chunk: Uint8Array, whole: number, fetch: Fetch): AsyncGenerator<Uint8Array> {
  const keeps = whole >= transferLimits.keptFromBytes && fetch.partial.size === fetch.received
  if (keeps) await fetch.partial.append(chunk)
  fetch.received += chunk.length
  yield chunk
}

/** Failures of a peer are data here: the next one is tried. */
async function outcomeOf<T>(work: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work }
  } catch (error) {
    return { error }
  }
}

function tooShort(peer: PeerRef, bytes: number): Outcome {
  const details = { where: blobProtocol, reason: `${peer.peerId} says it has ${bytes} bytes` }
  const message = `peer ${peer.peerId} sent another number of bytes than it said`
  return { error: new TroupeError("ERR_PROTOCOL", message, details) }
}

function nobodyHas(digest: string, failures: readonly unknown[]): Error {
  const first = failures.find((failure) => failure instanceof Error)
  if (first) return first
  return new TroupeError("ERR_BLOB_NOT_FOUND", `no peer has blob ${digest}`, { digest })
}
