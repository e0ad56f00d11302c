/** The libp2p node under the mesh: its modules and their settings. */
import { gossipsub, type GossipSub } from "@libp2p/gossipsub"
import { type Identify, identify } from "@libp2p/identify"
import type { Libp2p } from "@libp2p/interface"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { createLibp2p } from "libp2p"
import { TroupeError } from "../schema/index.ts"
import { announced } from "./addresses.ts"
import type { Discovery } from "./discovery.ts"
import { gatheringNoise } from "./gathering.ts"
import { privateKeyOf } from "./keys.ts"
import { meshLimits, meshPeriods } from "./limits.ts"
import type { MeshOptions } from "./types.ts"

export type Libp2pNode = Libp2p<{ identify: Identify; pubsub: GossipSub }>

/** Not started: protocols are registered first. */
export async function createNode(options: MeshOptions, discovery: Discovery): Promise<Libp2pNode> {
  const maxConnections = options.maxConnections ?? 500
  return await createLibp2p({
    start: false,
    privateKey: privateKeyOf(options.privateKey),
    addresses: { listen: [...options.listen], announceFilter: announced },
    transports: [tcp()],
    connectionEncrypters: [gatheringNoise()],
    streamMuxers: [
      yamux({
        streamOptions: {
          maxStreamWindowSize: meshLimits.windowBytes,
          maxReadBufferLength: meshLimits.readBufferBytesMax,
          maxWriteBufferLength: meshLimits.writeBufferBytesMax,
        },
      }),
    ],
    connectionManager: {
      maxConnections,
      // A whole cluster may restart behind one address.
      inboundConnectionThreshold: 200,
      maxIncomingPendingConnections: 100,
      dialTimeout: meshPeriods.dialMs,
      addressDialTimeout: meshPeriods.addressDialMs,
      // Ours come in the order of what worked last.
      addressSorter: () => 0,
      reconnectRetries: 0,
    },
    // Pulse does this on streams that are open anyway.
    connectionMonitor: { enabled: false },
    peerDiscovery: await discovery.services(),
    services: {
      identify: identify(),
      pubsub: gossipsub({
        allowPublishToZeroTopicPeers: true,
        fallbackToFloodsub: false,
        maxInboundDataLength: meshLimits.gossipBytesMax * 2,
        // Many nodes of a test or a lab stand behind one address.
        scoreParams: { IPColocationFactorWeight: 0 },
      }),
    },
  })
}

/** libp2p tells only in a text which address it could not have. */
export function listenFailure(error: unknown): unknown {
  const text = error instanceof Error ? error.message : String(error)
  const taken = /EADDRINUSE: address already in use (\S+)/.exec(text)?.[1]
  const absent = /EADDRNOTAVAIL: address not available (\S+)/.exec(text)?.[1]
  const address = taken ?? absent
  if (address === undefined) return error
  const why = taken === undefined ? "is not an address of this machine" : "is in use"
  const options = { cause: error }
  const details = { address, flag: "--listen" }
  return new TroupeError(
    "ERR_ADDRESS_IN_USE",
    `${address} ${why}; choose another with --listen`,
    details,
    options,
  )
}
