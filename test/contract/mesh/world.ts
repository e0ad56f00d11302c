/** What the mesh's contract is tried in, and small helps for its tests. */
import type { Mesh, MeshEvents } from "../../../src/mesh/index.ts"
import type { PeerRef } from "../../../src/schema/index.ts"

/** A network to put meshes on. Its time passes while something is waited for. */
export interface MeshWorld {
  /** Started. `gone` is an address where nobody listens. */
  mesh(options?: { seeds?: readonly string[] }): Promise<Mesh>
  readonly gone: string
  wait<T>(work: Promise<T>): Promise<T>
  /** Lets time pass until the value has stayed the same for a while. */
  steady(value: () => number): Promise<number>
  limit(): AbortSignal
  close(): Promise<void>
}

export type Check = (what: string, run: (world: MeshWorld) => Promise<void>) => void

export const refOf = (mesh: Mesh): PeerRef => ({
  peerId: mesh.peerId,
  addresses: mesh.addresses(),
})

export function next<K extends keyof MeshEvents>(mesh: Mesh, event: K): Promise<MeshEvents[K]> {
  return new Promise((resolve) => mesh.on(event, resolve))
}

export async function failure(work: Promise<unknown>): Promise<Error> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  throw new Error("it should have failed")
}

/** Two meshes with a connection. */
export async function joined(world: MeshWorld): Promise<readonly [Mesh, Mesh]> {
  const pair = [await world.mesh(), await world.mesh()]
  // The lower id dials at once, the higher would give the other side two seconds to do so.
  const [a, b] = pair.toSorted((x, y) => (x.peerId < y.peerId ? -1 : 1)) as [Mesh, Mesh]
  const heard = next(b, "connected")
  await world.wait(a.connect(refOf(b), { signal: world.limit() }))
  await world.wait(heard)
  return [a, b]
}
