/** Ed25519 keys and the peer ids made of them. */
import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto"
import { privateKeyFromProtobuf, privateKeyFromRaw } from "@libp2p/crypto/keys"
import type { PrivateKey } from "@libp2p/interface"
import { peerIdFromPrivateKey } from "@libp2p/peer-id"

// RFC 8410: the DER that stands before the 32 bytes of an Ed25519 seed.
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex")

/** A new private key: 32 bytes, a seed. */
export function generateKey(): Uint8Array {
  return new Uint8Array(randomBytes(32))
}

/** The peer id (`12D3Koo…`) of a private key in any form that `createMesh` takes. */
export function peerIdOfKey(key: Uint8Array): string {
  return peerIdFromPrivateKey(privateKeyOf(key)).toString()
}

export function privateKeyOf(key: Uint8Array): PrivateKey {
  if (key.length === 32) return privateKeyFromRaw(Buffer.concat([key, publicPart(key)]))
  const parsed = key.length === 64 ? privateKeyFromRaw(key) : privateKeyFromProtobuf(key)
  if (parsed.type !== "Ed25519") throw new Error(`a node key is Ed25519, not ${parsed.type}`)
  return parsed
}

function publicPart(seed: Uint8Array): Uint8Array {
  const secret = createPrivateKey({
    key: Buffer.concat([pkcs8Prefix, seed]),
    format: "der",
    type: "pkcs8",
  })
  // The public key is the last 32 bytes of its DER.
  return createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32)
}
