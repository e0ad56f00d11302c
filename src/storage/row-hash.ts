/** A hash of a set of rows that does not depend on their order and can be carried on row by row. */
import { hash } from "node:crypto"

const modulus = 1n << 128n

/** Half of the SHA-256 of key and value. */
function rowHash(key: string, value: string): bigint {
  return BigInt(`0x${hash("sha256", `${key.length}:${key}${value}`).slice(0, 32)}`)
}

/** The sum of the rows' hashes modulo 2^128. */
export class RowSum {
  #sum: bigint

  constructor(start = 0n) {
    this.#sum = start
  }

  static parse(text: string): RowSum {
    if (!/^[0-9a-f]{32}$/.test(text)) throw new Error(`not a hash of rows: ${text}`)
    return new RowSum(BigInt(`0x${text}`))
  }

  add(key: string, value: string): void {
    this.#sum = (this.#sum + rowHash(key, value)) % modulus
  }

  remove(key: string, value: string): void {
    this.#sum = (this.#sum + modulus - rowHash(key, value)) % modulus
  }

  toString(): string {
    return this.#sum.toString(16).padStart(32, "0")
  }
}
