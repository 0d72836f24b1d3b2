/** A TypeScript module, imported: types of the package as its users get them. */
import { ChassisError, VectorIndex } from '@chassis/core'
import type { ChassisErrorCode, SearchResult, SearchRow } from '@chassis/core'

export async function main(path: string): Promise<string> {
  await using index = await VectorIndex.open(path, { dimensions: 3, idType: 'string' })
  const id: string = await index.add({ id: 'a', vector: [1, 2, 3], payload: { n: 1 } })
  const result: SearchResult<'string', 'payload'> = await index.search([1, 2, 3], { include: ['payload'] })
  const rows: SearchRow<'string', 'payload'>[] = [...result]
  return rows[0]?.id ?? id
}

export function codeOf(error: unknown): ChassisErrorCode | undefined {
  return error instanceof ChassisError ? error.code : undefined
}
