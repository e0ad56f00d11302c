/** Chance by name: every link, disk and client draws from a stream of its own, so that one fault less changes no other. */
import { SeededRandom } from "../../support/random.ts"

export function streamOf(seed: number, name: string): SeededRandom {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  for (let at = 0; at < name.length; at++) {
    hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  }
  return new SeededRandom(hash >>> 0)
}
