/** api: REST and server-sent events over a node. */
export { type Api, type ApiOptions, type ApiParts, createApi } from "./api.ts"
