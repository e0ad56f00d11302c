/** Connections that gather: what is sent in one go leaves as one noise message and one socket write, and window updates
 *  ride along. As libp2p comes, each frame is several socket writes, and each data frame is answered by a window update. */
import type { MessageStream } from "@libp2p/interface"
import type { NoiseInit } from "@chainsafe/libp2p-noise"
import { noise } from "@chainsafe/libp2p-noise"
import { Uint8ArrayList } from "uint8arraylist"

type Noise = ReturnType<ReturnType<typeof noise>>

/** Noise, with a gathering writer on top of it and one below. */
export function gatheringNoise(
  init?: NoiseInit,
): (...args: Parameters<ReturnType<typeof noise>>) => Noise {
  const create = noise(init)
  return (components) => {
    const encrypter = create(components)
    const secureInbound = encrypter.secureInbound.bind(encrypter)
    const secureOutbound = encrypter.secureOutbound.bind(encrypter)
    encrypter.secureInbound = async (connection, options) => {
      joinPieces(connection)
      const secured = await secureInbound(connection, options)
      gather(secured.connection)
      return secured
    }
    encrypter.secureOutbound = async (connection, options) => {
      joinPieces(connection)
      const secured = await secureOutbound(connection, options)
      gather(secured.connection)
      return secured
    }
    return encrypter
  }
}

/** A list of pieces is written as one: the transport makes a system call of each. */
function joinPieces(connection: MessageStream): void {
  const send = connection.send.bind(connection)
  connection.send = (data) => send(data.subarray())
}

/** More than this is not held back until the end of the turn; one noise message takes about as much. */
const gatherBytesMax = 60 << 10
/** A window that has shrunk by less is not worth a message of its own; yamux begins with 256 KiB. */
const windowBytesOwedMax = 64 << 10

export function gather(connection: MessageStream): void {
  const send = connection.send.bind(connection)
  const close = connection.close.bind(connection)
  let pending = new Uint8ArrayList()
  let isScheduled = false
  const owed = new Map<number, number>()
  const flush = (): boolean => {
    isScheduled = false
    for (const [stream, bytes] of owed) pending.append(windowUpdate(stream, bytes))
    owed.clear()
    if (pending.byteLength === 0) return true
    const data = pending.subarray()
    pending = new Uint8ArrayList()
    // Closed meanwhile: the muxer hears of that by itself, and what waited has nowhere to go.
    if (connection.status !== "open") return false
    return send(data)
  }
  connection.send = (data) => {
    // Refused as ever.
    if (connection.status !== "open") return send(data)
    const update = data instanceof Uint8Array ? readWindowUpdate(data) : undefined
    if (update) {
      const bytes = (owed.get(update.stream) ?? 0) + update.bytes
      owed.set(update.stream, bytes)
      if (bytes < windowBytesOwedMax) return true
    } else pending.append(data)
    if (pending.byteLength >= gatherBytesMax) return flush()
    if (!isScheduled) {
      isScheduled = true
      queueMicrotask(flush)
    }
    return !connection.writableNeedsDrain
  }
  connection.close = async (options) => {
    flush()
    await close(options)
  }
}

const headerBytes = 12

/** A yamux header of a window update without flags: version 0, type 1, flags 0, stream, bytes; all big-endian. */
function readWindowUpdate(data: Uint8Array): { stream: number; bytes: number } | undefined {
  if (data.length !== headerBytes) return undefined
  const view = new DataView(data.buffer, data.byteOffset, headerBytes)
  if (view.getUint32(0) !== 0x0001_0000) return undefined
  return { stream: view.getUint32(4), bytes: view.getUint32(8) }
}

function windowUpdate(stream: number, bytes: number): Uint8Array {
  const data = new Uint8Array(headerBytes)
  const view = new DataView(data.buffer)
  view.setUint32(0, 0x0001_0000)
  view.setUint32(4, stream)
  view.setUint32(8, bytes)
  return data
}
