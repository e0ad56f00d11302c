/** What this node is, in memory and on disk: its identity, its replica, the roster it knows; and putting all that aside. */
import {
  type Identity,
  type Member,
  type MemberDeclaration,
  type Redirect,
  TroupeError,
} from "../schema/index.ts"
import { type ClusterRow, type Command, readCluster, readMembers } from "../state/index.ts"
import type { Admission } from "./joining.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"
import { redirectsMax } from "./redirects.ts"
import type { ReplicaEvents } from "./replica-options.ts"
import { ReplicaSlot } from "./replica-slot.ts"
import type { Replica } from "./replica.ts"
import { Roster } from "./roster.ts"

const jobGraceMs = 5000

export interface BelongingOwner {
  readonly events: ReplicaEvents
  declaration(): MemberDeclaration
  /** Random id of this start. */
  boot(): string
}

export class Belonging {
  readonly roster: Roster
  readonly slot: ReplicaSlot
  readonly #options: NodeOptions
  readonly #parts: Parts
  readonly #declaration: () => MemberDeclaration
  #identity: Identity | undefined
  #redirects: Identity["redirects"] = []

  constructor(options: NodeOptions, parts: Parts, owner: BelongingOwner) {
    this.#options = options
    this.#parts = parts
    this.#declaration = () => owner.declaration()
    this.roster = new Roster(parts.local)
    this.slot = new ReplicaSlot({
      options,
      parts,
      events: owner.events,
      roster: this.roster,
      identity: () => this.#identity,
      boot: () => owner.boot(),
    })
  }

  get identity(): Identity | undefined {
    return this.#identity
  }

  get replica(): Replica | undefined {
    return this.slot.current
  }

  get redirects(): readonly Redirect[] {
    return this.#redirects
  }

  row(): ClusterRow | undefined {
    return this.replica && readCluster(this.replica.tables)
  }

  /** From the tables, or from a roster that is newer than they are. */
  members(): readonly Member[] {
    const { replica, roster } = this
    const isOlder = !replica || roster.index > replica.applied.index
    const members = isOlder ? [] : readMembers(replica.tables)
    return members.length > 0 ? members : roster.members
  }

  /** What node.json says. A member of another cluster than the one that is asked for is refused. */
  remember(stored: Identity | undefined): void {
    this.#redirects = stored?.redirects ?? []
    if (!stored || stored.memberId === 0 || stored.cluster === this.#options.cluster) return
    throw new TroupeError(
      "ERR_CONFIG_INVALID",
      `this data directory belongs to cluster '${stored.cluster}', not '${this.#options.cluster}': ` +
        `start with --cluster ${stored.cluster}, or with another --data directory`,
      {
        issues: [{ path: "cluster", message: `the data directory belongs to '${stored.cluster}'` }],
      },
    )
  }

  /** From here on frames may open the replica. */
  resume(stored: Identity): void {
    this.#identity = stored
  }

  /** Opens the replica of the present identity; `founding`: of a new cluster. */
  async openReplica(founding: boolean): Promise<void> {
    const identity = this.#identity!
    const { cluster, clusterId } = identity
    const item = { cluster, clusterId, founder: this.#declaration() }
    const genesis: Command = { type: "genesis", items: [item] }
    await this.slot.open(identity, founding ? genesis : undefined)
  }

  async found(clusterId: string): Promise<void> {
    const { local } = this.#parts
    // Until the first entry is durable a restart has to found it again.
    await local.put("founding", clusterId)
    await this.#become({ clusterId, memberId: 1 })
    await this.openReplica(true)
    await local.delete("founding")
  }

  async adopt(admission: Admission): Promise<void> {
    const { clusterId, memberId } = admission
    // The admission says no index: the next roster of a leader is newer.
    await this.roster.keep(admission.members, 0)
    await this.#become({ clusterId, memberId })
    this.#parts.logger.info("joined a cluster", { clusterId, memberId })
  }

  async #become(who: { clusterId: string; memberId: number }): Promise<void> {
    const identity: Identity = {
      format: 1,
      peerId: this.#parts.mesh.peerId,
      cluster: this.#options.cluster,
      redirects: this.#redirects,
      ...who,
    }
    await this.#parts.identity.write(identity)
    this.#identity = identity
  }

  /** Closes what this node holds of a cluster and moves it to the archive, or, of a member that lost its log, to the
   *  quarantine. Its jobs are nobody's any more. */
  async putAside(
    clusterId: string,
    how: { readonly redirect?: Redirect; readonly lost?: number } = {},
  ): Promise<void> {
    const { identity, local, logger } = this.#parts
    if (how.redirect) this.#redirects = [...this.#redirects, how.redirect].slice(-redirectsMax)
    this.#identity = undefined
    this.roster.forget()
    await this.slot.close()
    await this.#endJobs()
    await this.#become({ clusterId: "", memberId: 0 })
    this.#identity = undefined
    if (how.lost === undefined) await identity.archive(clusterId)
    else {
      const directory = await identity.quarantine({ clusterId, memberId: how.lost })
      logger.warn("what it held is kept", { directory })
    }
    await local.delete("replica")
  }

  /** A keeper that does not hear it now refuses the next cluster's jobs until these have ended. */
  async #endJobs(): Promise<void> {
    const { keeper, logger } = this.#parts
    const reason = "its node has left the cluster"
    try {
      for (const attempt of await keeper.list()) {
        if (attempt.state !== "ended") await keeper.end({ ...attempt, graceMs: jobGraceMs, reason })
      }
    } catch (error) {
      logger.warn("jobs of the cluster that was left were not ended", { error: String(error) })
    }
  }
}
