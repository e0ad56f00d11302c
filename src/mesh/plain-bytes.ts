/** Bytes as the rest of the house knows them. */

/** A Buffer as a plain Uint8Array on the same memory: `slice` of a Buffer does not copy, and the two compare unequal. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  if (!Buffer.isBuffer(bytes)) return bytes
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}
