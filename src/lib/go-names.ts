/** Names of systems and processors as Go programs write them, from Node's. */

const systems: Readonly<Record<string, string>> = { win32: "windows", sunos: "solaris" }
const processors: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", mipsel: "mipsle" }

/** `win32` → `windows`; what both call alike stays. */
export function goOs(name: string): string {
  return systems[name] ?? name
}

/** `x64` → `amd64`; what both call alike stays. */
export function goArch(name: string): string {
  return processors[name] ?? name
}
