/** A cluster's id and those of its recoveries: `<id>` as founded, then `<id>-<number>-<8 hex>`, each from the one before. */

const recovered = /^(.+)-(\d{1,9})-([0-9a-f]{8})$/

/** How often the cluster of this id was recovered by hand; 0 as founded. */
export function incarnationOf(clusterId: string): number {
  return Number(recovered.exec(clusterId)?.[2] ?? 0)
}

/** The id of the next incarnation. Two recoveries of one cluster differ in `mark`, 8 random hex digits. */
export function nextIncarnation(clusterId: string, mark: string): string {
  const base = recovered.exec(clusterId)?.[1] ?? clusterId
  return `${base}-${incarnationOf(clusterId) + 1}-${mark}`
}
