/** Checks the source tree, or the one named in the argument, and lists what breaks the rules; exits with 1 then. */
import { checkTree } from './rules.ts'
import { readTree } from './tree.ts'

const tree = readTree(process.argv[2])
const { violations, advice } = checkTree(tree)
for (const line of advice) console.log(`advice: ${line}`)
for (const { rule, where, what } of violations) console.error(`${rule}: ${where} ${what}`)
if (violations.length > 0) {
  console.error(`${violations.length} violation${violations.length > 1 ? 's' : ''} of the layer rules`)
  process.exitCode = 1
} else console.log(`layers: ${tree.files.size} files keep the rules`)
