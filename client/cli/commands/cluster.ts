/** The commands `millrace cluster …`. What they do is in `../cluster.ts`, which is loaded when one runs. */
import type { Command } from 'commander'
import type { StatusOptions } from '../cluster.ts'
import { type ContextOf, json } from './options.ts'

export function addCluster(program: Command, contextOf: ContextOf): void {
  const cluster = program.command('cluster').description('look at a cluster').addHelpText('after', HELP)
  cluster
    .command('status')
    .description('brokers, leaders, replicas in sync, and how far the others are behind')
    .requiredOption('--cluster <address>', 'lmdb:DIR or etcd://HOST:PORT[,HOST:PORT…][/PREFIX]')
    .option('--problems', 'only partitions without a leader, or with replicas that are not in sync')
    .addOption(json('{brokers: […], partitions: […]}'))
    .action(async (options: StatusOptions, command: Command) =>
      (await import('../cluster.ts')).showStatus(contextOf(command), options),
    )
}

const HELP = `
Examples:
  millrace cluster status --cluster lmdb:cluster
  millrace cluster status --cluster etcd://10.0.0.1:2379,10.0.0.2:2379 --problems --json | jq .partitions`
