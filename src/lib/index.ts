/** lib: small tools without a troupe word and without I/O. */
export {
  array,
  bool,
  bytes,
  type Codec,
  CodecError,
  decode,
  type Decoded,
  encode,
  float,
  json,
  list,
  oneOf,
  optional,
  Reader,
  record,
  struct,
  text,
  trailing,
  uint,
  union,
  Writer,
} from "./codec.ts"
export { DurationCounts, RecentDurations, type RecentOptions } from "./durations.ts"
export { interpolate, variablesIn } from "./interpolate.ts"
export { nearest } from "./nearest.ts"
export { goArch, goOs } from "./go-names.ts"
