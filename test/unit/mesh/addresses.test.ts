/** Addresses as users write them, and which of ours others may hear. */
import { multiaddr } from "@multiformats/multiaddr"
import { describe, expect, test } from "vitest"
import { parseAddress } from "../../../src/mesh/index.ts"
import { announced, isLoopback, socketOf, splitPeerId } from "../../../src/mesh/addresses.ts"

const id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

describe("parseAddress", () => {
  test.for([
    ["10.0.0.1:8771", "/ip4/10.0.0.1/tcp/8771"],
    ["10.0.0.1", "/ip4/10.0.0.1/tcp/8771"],
    [" 10.0.0.1:1 ", "/ip4/10.0.0.1/tcp/1"],
    ["[::1]:9000", "/ip6/::1/tcp/9000"],
    ["fd77::1", "/ip6/fd77::1/tcp/8771"],
    ["lab-box.example:8771", "/dns/lab-box.example/tcp/8771"],
    ["lab-box", "/dns/lab-box/tcp/8771"],
    ["/ip4/10.0.0.1/tcp/8771", "/ip4/10.0.0.1/tcp/8771"],
    [`/ip4/10.0.0.1/tcp/8771/p2p/${id}`, `/ip4/10.0.0.1/tcp/8771/p2p/${id}`],
    ["/dns4/lab-box/tcp/8771", "/dns4/lab-box/tcp/8771"],
  ] as const)("%s", ([written, expected]) => {
    expect(parseAddress(written)).toBe(expected)
  })

  test.for([
    "",
    ":8771",
    "host:",
    "host:70000",
    "host:8771:1",
    "[10.0.0.1]:1",
    "http://host",
    "-host",
    "ho st",
    "/ip4/10.0.0.1",
    "/ip4/10.0.0.1/udp/8771",
    "/ip4/999.0.0.1/tcp/1",
    "/nonsense",
  ])("refuses %j", (written) => {
    expect(() => parseAddress(written)).toThrow(
      expect.objectContaining({
        code: "ERR_CONFIG_INVALID",
        message: expect.stringContaining(JSON.stringify(written)),
      }),
    )
  })
})

test("loopback is announced only when there is nothing else", () => {
  const lo = multiaddr("/ip4/127.0.0.1/tcp/1")
  const lo6 = multiaddr("/ip6/::1/tcp/1")
  const lan = multiaddr("/ip4/10.0.0.1/tcp/1")
  const linkLocal = multiaddr("/ip6/fe80::1/tcp/1")
  expect(announced([lo, lan, linkLocal, lo6])).toEqual([lan])
  expect(announced([lo, linkLocal])).toEqual([lo])
  expect(announced([])).toEqual([])
})

test("loopback by any name", () => {
  const yes = [
    "/ip4/127.0.0.1/tcp/1",
    "/ip4/127.9.9.9/tcp/1",
    "/ip6/::1/tcp/1",
    "/dns/localhost/tcp/1",
  ]
  const no = ["/ip4/0.0.0.0/tcp/1", "/ip4/10.127.0.1/tcp/1", "/ip6/::/tcp/1", "/dns/host/tcp/1"]
  expect(yes.filter(isLoopback)).toEqual(yes)
  expect(no.filter(isLoopback)).toEqual([])
})

test("the parts of an address", () => {
  expect(socketOf(`/ip4/10.0.0.1/tcp/8771/p2p/${id}`)).toEqual({ host: "10.0.0.1", port: 8771 })
  expect(socketOf("/ip4/10.0.0.1/udp/8771")).toBeUndefined()
  expect(splitPeerId(`/ip4/10.0.0.1/tcp/1/p2p/${id}`)).toEqual({
    address: "/ip4/10.0.0.1/tcp/1",
    peerId: id,
  })
  expect(splitPeerId("/ip4/10.0.0.1/tcp/1").peerId).toBeUndefined()
})
