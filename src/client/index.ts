/** client: troupe's REST API, typed, for Node and the browser. */
export {
  type BundleStream,
  type Client,
  type ClientOptions,
  createClient,
  type LogQuery,
  type OutputPart,
  type OutputQuery,
  type RunMessage,
  type Submitted,
} from "./client.ts"
