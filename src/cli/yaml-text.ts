/** YAML for `-o yaml`; a file of its own so that only who asks for it loads the library. */
import { stringify } from "yaml"

export function yamlText(value: unknown): string {
  return stringify(value).trimEnd()
}
