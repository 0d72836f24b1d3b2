/** A TypeScript module, required: types of the package as its users get them. */
import chassis = require('@chassis/core')

export function main(path: string): readonly (number | bigint)[] {
  using index = chassis.VectorIndex.openSync(path, { readOnly: true })
  return index.searchSync(new Float32Array(3)).ids
}
