/** Binary codecs by combinators: one declaration reads, writes and bounds a message. Numbers are varints (LEB128). */

declare const TextEncoder: new () => { encode(text: string): Uint8Array }
declare const TextDecoder: new (
  label: string,
  options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string }

/** The bytes are not what the codec says: cut short, too large, or of another kind. */
export class CodecError extends Error {
  override readonly name = "CodecError"
}

export interface Codec<T> {
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}
/** Any codec, whatever it carries. */
export interface AnyCodec {
  write(writer: Writer, value: never): void
  read(reader: Reader): unknown
}
export type Decoded<C> = C extends Codec<infer T> ? T : never

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export class Writer {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  #room(more: number): void {
    const need = this.#length + more
    if (need <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }

  byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#length++] = value
  }

  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new CodecError(`not an unsigned safe integer: ${value}`)
    }
    this.#room(8)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
  }

  float64(value: number): void {
    this.#room(8)
    this.#view.setFloat64(this.#length, value, true)
    this.#length += 8
  }

  raw(part: Uint8Array): void {
    this.#room(part.length)
    this.#bytes.set(part, this.#length)
    this.#length += part.length
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(input: Uint8Array) {
    this.#bytes = input
    this.#view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  byte(): number {
    if (this.left < 1) throw new CodecError(`ends at byte ${this.#at}`)
    return this.#bytes[this.#at++]!
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 8; count++) {
      const next = this.byte()
      value += (next & 0x7f) * scale
      if (next < 0x80) {
        if (!Number.isSafeInteger(value)) throw new CodecError("integer past 2^53")
        return value
      }
      scale *= 0x80
    }
    throw new CodecError("integer of more than 8 bytes")
  }

  float64(): number {
    if (this.left < 8) throw new CodecError(`ends at byte ${this.#at}`)
    const value = this.#view.getFloat64(this.#at, true)
    this.#at += 8
    return value
  }

  /** A view into the input, not a copy. */
  raw(length: number): Uint8Array {
    if (length > this.left)
      throw new CodecError(`${length} bytes wanted at ${this.#at}, ${this.left} left`)
    const start = this.#at
    this.#at += length
    return this.#bytes.subarray(start, start + length)
  }
}

/** Non-negative safe integer. */
export const uint: Codec<number> = {
  write: (writer, value) => writer.varint(value),
  read: (reader) => reader.varint(),
}

/** Any double, 8 bytes. */
export const float: Codec<number> = {
  write: (writer, value) => writer.float64(value),
  read: (reader) => reader.float64(),
}

export const bool: Codec<boolean> = {
  write: (writer, value) => writer.byte(value ? 1 : 0),
  read: (reader) => {
    const byte = reader.byte()
    if (byte > 1) throw new CodecError(`boolean ${byte}`)
    return byte === 1
  },
}

/** The bytes read share memory with the message. */
export function bytes(max: number): Codec<Uint8Array> {
  return {
    write(writer, value) {
      if (value.length > max) throw new CodecError(`${value.length} bytes, at most ${max}`)
      writer.varint(value.length)
      writer.raw(value)
    },
    read(reader) {
      const length = reader.varint()
      if (length > max) throw new CodecError(`${length} bytes, at most ${max}`)
      return reader.raw(length)
    },
  }
}

/** UTF-8, at most `max` bytes. */
export function text(max: number): Codec<string> {
  const inner = bytes(max)
  return {
    write: (writer, value) => inner.write(writer, encoder.encode(value)),
    read(reader) {
      const raw = inner.read(reader)
      try {
        return decoder.decode(raw)
      } catch {
        throw new CodecError("text is not UTF-8")
      }
    },
  }
}

/** Free-form data as JSON: for values whose shape another check decides. */
export function json<T = unknown>(max: number): Codec<T> {
  const inner = text(max)
  return {
    write(writer, value) {
      const written: string | undefined = JSON.stringify(value)
      if (written === undefined) throw new CodecError("not a JSON value")
      inner.write(writer, written)
    },
    read(reader) {
      const raw = inner.read(reader)
      try {
        return JSON.parse(raw) as T
      } catch {
        throw new CodecError("not JSON")
      }
    },
  }
}

export function oneOf<const T extends readonly string[]>(...values: T): Codec<T[number]> {
  return {
    write(writer, value) {
      const index = values.indexOf(value)
      if (index < 0) throw new CodecError(`not one of ${values.join(", ")}: ${value}`)
      writer.varint(index)
    },
    read(reader) {
      const value = values[reader.varint()]
      if (value === undefined) throw new CodecError(`unknown choice of ${values.join(", ")}`)
      return value
    },
  }
}

export function optional<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      writer.byte(value === undefined ? 0 : 1)
      if (value !== undefined) inner.write(writer, value)
    },
    read: (reader) => (bool.read(reader) ? inner.read(reader) : undefined),
  }
}

/** A last field that older writers do not have: absent, it takes no byte, and what ends before it has none. */
export function trailing<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      if (value !== undefined) optional(inner).write(writer, value)
    },
    read: (reader) => (reader.left === 0 ? undefined : optional(inner).read(reader)),
  }
}

export function list<T>(inner: Codec<T>, max: number): Codec<readonly T[]> {
  return {
    write(writer, value) {
      if (value.length > max) throw new CodecError(`${value.length} items, at most ${max}`)
      writer.varint(value.length)
      for (const item of value) inner.write(writer, item)
    },
    read(reader) {
      const length = reader.varint()
      if (length > max) throw new CodecError(`${length} items, at most ${max}`)
      const items: T[] = []
      for (let index = 0; index < length; index++) items.push(inner.read(reader))
      return items
    },
  }
}

/** The same bytes as `list`, for shapes whose arrays are not readonly. */
export function array<T>(inner: Codec<T>, max: number): Codec<T[]> {
  const items = list(inner, max)
  return { write: (writer, value) => items.write(writer, value), read: (r) => [...items.read(r)] }
}

/** String keys in the order of the object, at most `max` of them and 256 bytes each. */
export function record<T>(inner: Codec<T>, max: number): Codec<Record<string, T>> {
  const key = text(256)
  return {
    write(writer, value) {
      const pairs = Object.entries(value)
      if (pairs.length > max) throw new CodecError(`${pairs.length} keys, at most ${max}`)
      writer.varint(pairs.length)
      for (const [name, item] of pairs) {
        key.write(writer, name)
        inner.write(writer, item)
      }
    },
    read(reader) {
      const length = reader.varint()
      if (length > max) throw new CodecError(`${length} keys, at most ${max}`)
      const pairs: [string, T][] = []
      for (let index = 0; index < length; index++) {
        pairs.push([key.read(reader), inner.read(reader)])
      }
      // Defines own properties, so that a key such as `__proto__` is a key like any other.
      return Object.fromEntries(pairs)
    },
  }
}

/** Fields that may be left out; one of type unknown is written always. */
type Optionals<F> = {
  [K in keyof F]: unknown extends Decoded<F[K]>
    ? never
    : undefined extends Decoded<F[K]>
      ? K
      : never
}[keyof F]
type Struct<F> = { readonly [K in Exclude<keyof F, Optionals<F>>]: Decoded<F[K]> } & {
  readonly [K in Optionals<F>]?: Decoded<F[K]>
}

/** Fields in the order written; a field that decodes to undefined is left out. */
export function struct<F extends Record<string, AnyCodec>>(fields: F): Codec<Struct<F>> {
  const entries = Object.entries(fields)
  return {
    write(writer, value) {
      for (const [name, codec] of entries)
        codec.write(writer, (value as Record<string, never>)[name]!)
    },
    read(reader) {
      const value: Record<string, unknown> = {}
      for (const [name, codec] of entries) {
        const field: unknown = codec.read(reader)
        if (field !== undefined) value[name] = field
      }
      return value as Struct<F>
    },
  }
}

/** A tagged union: the tag's position in `cases`, then that case without its tag. Append cases, never reorder. */
export function union<Tag extends string, C extends Record<string, AnyCodec>>(
  tag: Tag,
  cases: C,
): Codec<{ [K in keyof C]: { readonly [T in Tag]: K } & Decoded<C[K]> }[keyof C]> {
  const names = Object.keys(cases)
  return {
    write(writer, value) {
      const name = (value as Record<string, string>)[tag]!
      const index = names.indexOf(name)
      if (index < 0) throw new CodecError(`unknown ${tag} ${name}`)
      writer.varint(index)
      cases[name]!.write(writer, value as never)
    },
    read(reader) {
      const name = names[reader.varint()]
      if (name === undefined) throw new CodecError(`unknown ${tag}`)
      return { [tag]: name, ...(cases[name]!.read(reader) as object) } as never
    },
  }
}

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer()
  codec.write(writer, value)
  return writer.finish()
}

/** Reads exactly all bytes. */
export function decode<T>(codec: Codec<T>, input: Uint8Array): T {
  const reader = new Reader(input)
  const value = codec.read(reader)
  if (reader.left > 0) throw new CodecError(`${reader.left} bytes too many`)
  return value
}
