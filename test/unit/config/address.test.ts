/** Addresses as people write them. */
import { expect, test } from "vitest"
import { isLoopback, parseAddress, parsePeerAddress } from "../../../src/config/address.ts"

test.each([
  ["10.0.0.5", { host: "10.0.0.5", port: 7 }],
  ["10.0.0.5:80", { host: "10.0.0.5", port: 80 }],
  ["::1", { host: "::1", port: 7 }],
  ["[::1]", { host: "::1", port: 7 }],
  ["[fe80::1]:80", { host: "fe80::1", port: 80 }],
  ["localhost:0", { host: "127.0.0.1", port: 0 }],
  ["10.0.0.5:65536", undefined],
  ["10.0.0.256", undefined],
  ["10.0.0.5:", undefined],
  ["10.0.0.5:x", undefined],
  ["[10.0.0.5]:80", undefined],
  ["lab-2:80", undefined],
  [":80", undefined],
  ["", undefined],
])("to listen at %j", (text, address) => {
  expect(parseAddress(text, 7)).toEqual(address)
})

const peerId = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
test.each([
  ["10.0.0.5", "/ip4/10.0.0.5/tcp/7"],
  ["[::1]:80", "/ip6/::1/tcp/80"],
  ["lab-2.example.org:80", "/dns/lab-2.example.org/tcp/80"],
  [`/ip4/10.0.0.5/tcp/80/p2p/${peerId}`, `/ip4/10.0.0.5/tcp/80/p2p/${peerId}`],
  ["/dns4/lab/tcp/80", "/dns4/lab/tcp/80"],
  ["/ip4/10.0.0.5/tcp/70000", undefined],
  ["/ip4/10.0.0.5/udp/80", undefined],
  ["10.0.0.999", undefined],
  ["10.0.0.5:0", undefined],
  ["http://10.0.0.5:80", undefined],
  ["a b", undefined],
  ["", undefined],
])("to join %j", (text, address) => {
  expect(parsePeerAddress(text, 7)).toBe(address)
})

test.each([
  ["127.0.0.1", true],
  ["127.255.0.1", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["::", false],
  ["0.0.0.0", false],
  ["10.0.0.1", false],
  ["::2", false],
])("%s stays on this machine: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected)
})
