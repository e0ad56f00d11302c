/** Durations as people write and read them: `90s`, `5m`, `1h30m`. */

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** ms; undefined when it is no duration. A plain number is refused: its unit would be a guess. */
export function parseDuration(text: string): number | undefined {
  const pattern = /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)/gy
  let total = 0
  let end = 0
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    total += Number(match[1]) * units[match[2]!]!
    end = pattern.lastIndex
  }
  if (end === 0 || end !== text.length || !Number.isSafeInteger(Math.round(total))) return undefined
  return Math.round(total)
}

/** `0.4 s`, `12 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  if (ms < 10_000) return `${(Math.max(0, ms) / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`
}

function two(value: number): string {
  return String(value).padStart(2, "0")
}

/** `2026-11-20 14:24:44` UTC. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ")
}

/** `512 B`, `1.2 KiB`, `34 MiB`. */
export function formatBytes(bytes: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"]
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < names.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} ${names[unit]}`
}
