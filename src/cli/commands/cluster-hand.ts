/** `troupe cluster transfer|remove`: what somebody does to the cluster by hand. */
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { printOne } from "../output.ts"
import { formatOf, type Session } from "../session.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

export async function transfer(
  session: Session,
  to: string | undefined,
  options: Options,
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.transferLeader({ to })
  const { from, leader, term } = value
  const text = (): string =>
    from === leader ? `${leader} leads already` : `${leader} leads now (term ${term}), ${from} did`
  await printOne(session.terminal, format, { kind: "LeaderTransferred", value, text })
  return exitCodes.ok
}

export async function remove(session: Session, node: string, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const value = await client.removeNode(node)
  await printOne(session.terminal, format, {
    kind: "NodeRemoved",
    value,
    text: () => `${value.node} (member ${value.id}) is out of the cluster`,
  })
  session.terminal.tell(
    "it comes back only as a new member: stop it, delete its data directory, start it again",
  )
  return exitCodes.ok
}
