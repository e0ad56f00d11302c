/** When a node's disk is so full that it takes no more work (DESIGN.md §8). Consensus goes on writing. */
import type { HostSample } from "./parts.ts"

/** Shares of the disk in use: full from here on, and no more below that, so that it does not flutter. */
const fullShare = 0.9
const roomyShare = 0.88

export class FullDisk {
  #isFull = false

  /** A clause that follows the node's name, while it is full. */
  look({ diskFreeBytes, diskTotalBytes }: HostSample): string | undefined {
    if (diskTotalBytes <= 0) return undefined
    const used = 1 - diskFreeBytes / diskTotalBytes
    this.#isFull = used >= (this.#isFull ? roomyShare : fullShare)
    return this.#isFull ? `has ${Math.floor(used * 100)} % of its disk in use` : undefined
  }
}
