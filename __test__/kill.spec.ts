/**
 * SIGKILL at random moments of a build. `npm run test:kill` is the long form of the same script.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import test from 'ava'

const script = fileURLToPath(new URL('../scripts/kill.mjs', import.meta.url))

test('a killed build reopens to an acknowledged commit, clean', async (t) => {
  const kills = process.env['CHASSIS_KILLS'] ?? '10'
  const env = { ...process.env, CHASSIS_KILLS: kills, CHASSIS_KILL_ROWS: '4000', CHASSIS_KILL_WAIT_MS: '600' }
  const { stdout } = await promisify(execFile)(process.execPath, [script], { env })
  t.true(stdout.includes(`${kills} kills over`), stdout)
  t.log(stdout.trim().split('\n').at(-1))
})
