/** Keys and the ids made of them. */
import { privateKeyToProtobuf } from "@libp2p/crypto/keys"
import { peerIdFromString } from "@libp2p/peer-id"
import { expect, test } from "vitest"
import { generateKey, peerIdOfKey } from "../../../src/mesh/index.ts"
import { privateKeyOf } from "../../../src/mesh/keys.ts"

// RFC 8032, 7.1, test 1.
const seed = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex")
const publicKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

test("a seed gives the public key of RFC 8032", () => {
  expect(Buffer.from(privateKeyOf(seed).publicKey.raw).toString("hex")).toBe(publicKey)
})

test("an id holds the public key (libp2p: identity hash of its protobuf)", () => {
  const id = peerIdFromString(peerIdOfKey(seed))
  const hash = Buffer.from(id.toMultihash().bytes).toString("hex")
  // 00 identity, 24 = 36 bytes; 08 01 Ed25519, 12 20 = 32 bytes.
  expect(hash).toBe(`002408011220${publicKey}`)
})

test("all forms of a key are one id", () => {
  const key = privateKeyOf(seed)
  expect(peerIdOfKey(key.raw)).toBe(peerIdOfKey(seed))
  expect(peerIdOfKey(privateKeyToProtobuf(key))).toBe(peerIdOfKey(seed))
})

test("every generated key is another", () => {
  const [one, other] = [generateKey(), generateKey()]
  expect(one).toHaveLength(32)
  expect(peerIdOfKey(one)).not.toBe(peerIdOfKey(other))
})
