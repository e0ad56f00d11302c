/** mesh: nodes find, reach and hear each other. libp2p inside. */
export { parseAddress } from "./addresses.ts"
export { generateKey, peerIdOfKey } from "./keys.ts"
export { createMesh } from "./mesh.ts"
export type {
  ByteStream,
  DiscoveryState,
  Mesh,
  MeshEvents,
  MeshOptions,
  MeshParts,
  RequestHandler,
  RequestProtocol,
  StreamProtocol,
} from "./types.ts"
