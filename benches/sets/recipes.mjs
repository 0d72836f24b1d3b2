/**
 * What is made from what. A step has the files it leaves, the steps it needs first, and the function that does it;
 * a finished set is the step of the same name.
 */
import { makeS1536, makeS384 } from './steps/derive.mjs'
import { makeUse512 } from './steps/embed.mjs'
import { makeFashion } from './steps/fashion.mjs'
import { makeGlove } from './steps/glove.mjs'
import { makeMiniLm } from './steps/minilm.mjs'
import { holdOutQueries, writeTruth } from './steps/split.mjs'
import { makeTexts } from './steps/texts.mjs'
import { makeWindows100 } from './steps/windows.mjs'

const rowFiles = (name) => [`${name}.f32bin`, `${name}.meta.json`]
const setFiles = (name) => [...rowFiles(`${name}.base`), ...rowFiles(`${name}.query`), `${name}.gt.ivecs`]

/** The steps of a set whose queries are rows held out of NAME.f32bin. */
function heldOut(name, needs, make, moreFiles = []) {
  return {
    [`${name} rows`]: { files: [...rowFiles(name), ...moreFiles], needs, make },
    [name]: {
      files: setFiles(name),
      needs: [`${name} rows`],
      make: ({ out }) => {
        holdOutQueries(out, name, 'cosine')
        writeTruth(out, name)
      },
    },
  }
}

const steps = {
  texts: { files: ['texts-wordnet.jsonl', 'texts-wordnet-ex.jsonl'], needs: [], make: makeTexts },
  fashion784: {
    files: setFiles('fashion784'),
    needs: [],
    make: (context) => {
      makeFashion(context)
      writeTruth(context.out, 'fashion784')
    },
  },
  ...heldOut('glove100', [], makeGlove, ['glove100.words.json']),
  ...heldOut('use512-wordnet', ['texts'], makeUse512),
  ...heldOut('s384', ['use512-wordnet rows'], makeS384),
  ...heldOut('s1536', ['use512-wordnet rows'], makeS1536),
  ...heldOut('minilm384-wordnet', ['texts'], makeMiniLm),
  ...heldOut('windows100', ['texts', 'glove100 rows'], makeWindows100),
}

export const setNames = Object.keys(steps).filter((name) => steps[name].files.includes(`${name}.gt.ivecs`))

/** The step of this name. */
export function stepOf(name) {
  return steps[name]
}
