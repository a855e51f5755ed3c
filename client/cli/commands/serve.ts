/** The command `millrace serve`. What it does is in `../serve.ts`, which is loaded when it runs. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Address, ServeOptions } from '../serve.ts'
import { type ContextOf, json, PARTITIONS_MAX, wholeNumber } from './options.ts'

const INT_MAX = 0x7fff_ffff
const PORT_MAX = 65_535

export function addServe(program: Command, contextOf: ContextOf): void {
  program
    .command('serve')
    .description('serve the directory to Kafka clients, until it is interrupted or a command has ended')
    .argument('[command...]', 'run this meanwhile, with MILLRACE_BOOTSTRAP in its environment, and end as it ends')
    .addOption(addresses('-l, --listen <address>', 'HOST:PORT or tls://HOST:PORT; port 0 takes a free one', true))
    .addOption(
      addresses('-a, --advertise <address>', 'HOST:PORT that clients are told, for each --listen in turn', false),
    )
    .option('--tls-cert <file>', 'certificate of the tls:// addresses, PEM')
    .option('--tls-key <file>', 'its key, PEM')
    .option('--tls-client-ca <file>', 'clients need a certificate signed by this, PEM')
    .option('--node-id <number>', 'number of this broker', wholeNumber(0, INT_MAX), 1)
    .option('--cluster <address>', 'be one broker of a cluster: lmdb:DIR or etcd://HOST:PORT[,HOST:PORT…][/PREFIX]')
    .option('--id <number>', 'number of this broker in the cluster, as --node-id', wholeNumber(0, INT_MAX))
    .option(
      '--lease <ms>',
      'of this broker: when it does not answer for so long others take over',
      wholeNumber(500, INT_MAX),
      2_000,
    )
    .option(
      '--replica-lag <ms>',
      'a follower that is behind for so long is not in sync',
      wholeNumber(100, INT_MAX),
      30_000,
    )
    .option('--default-partitions <number>', 'of topics made without a number', wholeNumber(1, PARTITIONS_MAX), 1)
    .option('--no-auto-create', 'do not make topics that clients ask for')
    .option('--max-connections <number>', 'in all', wholeNumber(1, INT_MAX), 16_384)
    .option('--idle <seconds>', 'end connections on which nothing happens for so long', wholeNumber(1, INT_MAX), 600)
    .option('--writers <number>', 'writer threads; default: processors - 1', wholeNumber(1, 64))
    .option('-v, --verbose', 'say on stderr why connections were ended by this side')
    .addOption(json('a line {nodeId, clusterId, listeners: [{host, port, tls}]} once it serves'))
    .action(async (words: readonly string[], options: ServeOptions, command: Command) =>
      (await import('../serve.ts')).serve(contextOf(command), words, options),
    )
    .addHelpText('after', HELP)
}

/** An option that may be repeated. */
function addresses(flags: string, text: string, takesTls: boolean): Option {
  return new Option(flags, `${text}; may be repeated`)
    .argParser((value: string, before: readonly Address[]) => [...before, parseAddress(value, takesTls)])
    .default([], takesTls ? '127.0.0.1:9092' : 'where the client came to')
}

/** `HOST:PORT`, `[IPv6]:PORT`, with `tls://` in front of it. */
function parseAddress(text: string, takesTls: boolean): Address {
  const [, tls, bracketed, plain, digits] = /^(tls:\/\/)?(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > PORT_MAX || (tls !== undefined && !takesTls)) {
    throw new InvalidArgumentError(`Give ${takesTls ? 'HOST:PORT or tls://HOST:PORT' : 'HOST:PORT'}, port 0 to 65,535.`)
  }
  return { host, port, tls: tls !== undefined }
}

const HELP = `
Examples:
  millrace serve
  millrace serve --listen 0.0.0.0:9092 --advertise broker.example.org:9092
  millrace serve --listen 127.0.0.1:9092 --listen tls://0.0.0.0:9093 --tls-cert cert.pem --tls-key key.pem
  millrace serve --listen 127.0.0.1:0 -- npm test
  millrace serve --dir data1 --cluster lmdb:cluster --id 1 --listen 127.0.0.1:9092`
