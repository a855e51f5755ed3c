/**
 * `npm run soak`: an hour of appends, readers, retention, compaction and look-ups, checked record by record, see `soak.ts`.
 * `-- --seconds N` for another length, `--dir PATH` for another disk, `--seed N` to repeat a run. Exit code 0 when everything
 * agreed and memory and descriptors stayed flat, 1 when not, 2 when the command line is wrong. Main thread.
 */
import { soakMain } from './cli.ts'

process.exitCode = await soakMain(process.argv.slice(2), text => console.log(text))
