/** Where something new can be put without touching what is there. */
import { existsSync } from "node:fs"

/** `wanted`, or the first free of `wanted-2`, `wanted-3`, … */
export function freePath(wanted: string): string {
  let path = wanted
  for (let n = 2; existsSync(path); n++) path = `${wanted}-${n}`
  return path
}
