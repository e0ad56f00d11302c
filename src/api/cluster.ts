/** Routes of the cluster: its nodes, its status, its health. */
import {
  ClusterStatus,
  CordonNode,
  DeclareDead,
  HealthView,
  LeaderTransferred,
  NodeCordoned,
  NodeDeclaredDead,
  NodeRemoved,
  RemoveNode,
  ReplicaView,
  TransferLeader,
} from "../schema/index.ts"
import { answerLimit, type App, type RouteContext } from "./context.ts"
import { jsonAnswer, NodeList, NodeParams, problemResponse } from "./schemas.ts"

export function clusterRoutes(app: App, context: RouteContext): void {
  const { face, waits } = context
  const nodes = {
    operationId: "listNodes",
    summary: "The members, as the leader sees them",
    tags: ["cluster"],
    response: { 200: jsonAnswer(NodeList, "The nodes"), default: problemResponse },
  }
  app.get("/v1/nodes", { schema: nodes, exposeHeadRoute: true }, async (_request, reply) => {
    return { items: [...(await face.listNodes(waits.begin(reply.raw, answerLimit)))] }
  })

  for (const [url, operationId] of [
    ["/v1/cluster/status", "clusterStatus"],
    // The path of the first clients of this field.
    ["/cluster/status", "clusterStatusAlias"],
  ] as const) {
    const status = {
      operationId,
      summary: "The cluster as this node sees it",
      tags: ["cluster"],
      response: { 200: jsonAnswer(ClusterStatus, "The status"), default: problemResponse },
    }
    app.get(url, { schema: status, exposeHeadRoute: true }, async (_request, reply) => {
      return await face.clusterStatus(waits.begin(reply.raw, answerLimit))
    })
  }

  const health = {
    operationId: "clusterHealth",
    summary: "How many losses the cluster survives right now, and what is wrong",
    description: "Always 200: without a leader the answer says so. `/health` is for probes.",
    tags: ["cluster"],
    response: { 200: jsonAnswer(HealthView, "The health"), default: problemResponse },
  }
  app.get("/v1/cluster/health", { schema: health, exposeHeadRoute: true }, async () => {
    return await face.health()
  })

  const replica = {
    operationId: "clusterReplica",
    summary: "This node's own copy of the log, asked without a leader",
    tags: ["cluster"],
    response: { 200: jsonAnswer(ReplicaView, "Where its log ends"), default: problemResponse },
  }
  app.get("/v1/cluster/replica", { schema: replica, exposeHeadRoute: true }, async () =>
    face.replicaView(),
  )
  handRoutes(app, context)
  nodeRoutes(app, context)
}

/** What somebody says of one node by hand. */
function nodeRoutes(app: App, { face, waits }: RouteContext): void {
  const cordon = {
    operationId: "cordonNode",
    summary: "Place nothing new on a node, drain it, or open it again",
    description:
      "`cordon`: what runs there goes on. `drain`: services move elsewhere at once, everything else may end by itself until the deadline and is then stopped and runs again elsewhere; a leader hands over. `open` ends both. Idempotent.",
    tags: ["cluster"],
    params: NodeParams,
    body: CordonNode,
    response: {
      200: jsonAnswer(NodeCordoned, "It holds; with what still runs there"),
      default: problemResponse,
    },
  }
  app.post("/v1/nodes/:node/cordon", { schema: cordon }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    return await face.cordonNode(request.params.node, request.body, options)
  })

  const dead = {
    operationId: "declareDead",
    summary: "Give up at once what runs on a node that will not come back with it",
    description:
      "Tasks that may run again do so elsewhere, whatever they say about lost nodes. 409 for a node that answers, unless `force`. When the node answers again it is a member as before, and what it still runs is stopped.",
    tags: ["cluster"],
    params: NodeParams,
    body: DeclareDead,
    response: {
      200: jsonAnswer(NodeDeclaredDead, "It counts as dead until it answers again"),
      default: problemResponse,
    },
  }
  app.post("/v1/nodes/:node/declare-dead", { schema: dead }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    return await face.declareDead(request.params.node, request.body, options)
  })
}

/** What somebody does to the cluster by hand. */
function handRoutes(app: App, { face, waits }: RouteContext): void {
  const transfer = {
    operationId: "transferLeader",
    summary: "Hand leadership to another voter, and answer when it leads",
    tags: ["cluster"],
    body: TransferLeader,
    response: { 200: jsonAnswer(LeaderTransferred, "Who leads now"), default: problemResponse },
  }
  app.post("/v1/cluster/transfer", { schema: transfer }, async (request, reply) => {
    return await face.transferLeader(request.body, waits.begin(reply.raw, answerLimit))
  })

  const remove = {
    operationId: "removeNode",
    summary: "Take a node out of the cluster for good, whether it answers or not",
    tags: ["cluster"],
    body: RemoveNode,
    response: {
      200: jsonAnswer(NodeRemoved, "It is no member any more"),
      default: problemResponse,
    },
  }
  app.post("/v1/cluster/remove", { schema: remove }, async (request, reply) => {
    return await face.removeNode(request.body, waits.begin(reply.raw, answerLimit))
  })
}
