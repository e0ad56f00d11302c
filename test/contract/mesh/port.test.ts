/** Mesh and Transfer are what the node asks for, by shape: a difference is a compile error here. */
import { expect, test } from "vitest"
import { createMesh, type Mesh } from "../../../src/mesh/index.ts"
import type { Mesh as MeshPort, Transfer as TransferPort } from "../../../src/node/index.ts"
import { createTransfer, type Transfer } from "../../../src/transfer/index.ts"

/** And the port is enough to stand for the room, as the fakes and the simulation do. */
const rooms = (mesh: MeshPort, transfer: TransferPort): [Mesh, Transfer] => [mesh, transfer]

test("the rooms fit the node's ports", () => {
  const mesh: (...args: Parameters<typeof createMesh>) => MeshPort = createMesh
  const transfer: (...args: Parameters<typeof createTransfer>) => TransferPort = createTransfer
  expect([mesh, transfer, rooms].every((made) => typeof made === "function")).toBe(true)
})
