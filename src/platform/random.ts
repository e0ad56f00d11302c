/** The real source of chance. */
import { randomBytes } from "node:crypto"
import type { Random } from "./types.ts"

export function createRandom(): Random {
  return {
    next: () => Math.random(),
    bytes: (length) => new Uint8Array(randomBytes(length)),
  }
}
