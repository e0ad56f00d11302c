/** config: flags, TROUPE_* variables, a YAML file, presets and defaults become one frozen Config. */
export { type Address, formatAddress, isLoopback } from "./address.ts"
export { displayConfig } from "./display.ts"
export { type CliEnvironment, readCliEnvironment } from "./environment.ts"
export { type FieldName, fieldNames, type FieldNote, noteOf } from "./fields.ts"
export { type Config, type LoadedConfig, loadConfig } from "./load.ts"
export type { Flags } from "./sources.ts"
export { build } from "./version.ts"
