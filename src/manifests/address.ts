/** IP addresses as the original's net.ParseIP takes them: v4 dotted, v6 with or without `::`, no zone, no host name. */

const byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
const v4 = new RegExp(`^${byte}(?:\\.${byte}){3}$`)
const group = /^[0-9A-Fa-f]{1,4}$/

export function isIpAddress(text: string): boolean {
  return v4.test(text) || isV6(text)
}

function isV6(text: string): boolean {
  if (text.length > 45 || !text.includes(":")) return false
  const halves = text.split("::")
  if (halves.length > 2) return false
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")))
  const all = groups.flat()
  // The last group may be a whole v4 address, which stands for two.
  const last = all.at(-1)
  const endsInV4 = last !== undefined && v4.test(last) && !text.endsWith(":")
  const words = endsInV4 ? all.slice(0, -1) : all
  if (!words.every((word) => group.test(word))) return false
  const count = words.length + (endsInV4 ? 2 : 0)
  return halves.length === 2 ? count <= 7 : count === 8
}
