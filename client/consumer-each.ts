/**
 * Runs handlers over what a consumer owns: so many partitions at once, within each one batch or record after the other.
 * What a handler throws at is tried again after a pause that grows; then a record goes to the dead-letter topic, or the
 * handling ends with the error and the record is not counted as handled.
 */
import { setTimeout } from 'node:timers/promises'
import { whole } from '../engine/broker/options.ts'
import type { Delivery } from './consumed-partition.ts'
import type { HandlerOptions } from './consumer-types.ts'
import type { ConsumedRecord } from './record.ts'

const CONCURRENCY_MAX = 10_000
const RETRIES = 5
const RETRY_DELAY_MS = 1_000
const RETRY_DELAY_MS_MAX = 60_000
const DELAY_MS_MAX = 0x7fff_ffff
/** While a pause lasts: how often it is looked at whether it still matters. */
const PAUSE_LOOK_MS = 50

export interface DeliverySource {
  /** Undefined when there will be none any more. */
  take(isOver: () => boolean): Promise<Delivery | undefined>
  wake(): void
}

/** Resolves when the source ends or the signal aborts, and every handler has returned. @throws what `handle` or the source threw first */
export async function handleDeliveries(
  source: DeliverySource,
  handle: (delivery: Delivery) => Promise<void>,
  { concurrency = 1, signal }: HandlerOptions,
): Promise<void> {
  whole('concurrency', concurrency, 1, CONCURRENCY_MAX)
  const running = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  const isOver = (): boolean => failure !== undefined || signal?.aborted === true
  const wake = (): void => source.wake()
  signal?.addEventListener('abort', wake, { once: true })
  try {
    while (!isOver()) {
      if (running.size >= concurrency) {
        await Promise.race(running)
        continue
      }
      const delivery = await source.take(isOver)
      if (delivery === undefined) break
      const one = handle(delivery)
        .catch((error: unknown) => {
          failure ??= { error }
        })
        .finally(() => {
          delivery.end()
          running.delete(one)
          source.wake()
        })
      running.add(one)
    }
  } finally {
    signal?.removeEventListener('abort', wake)
    await Promise.all(running)
  }
  if (failure !== undefined) throw failure.error
}

export interface Attempts {
  readonly retries: number
  readonly delayMs: number
  readonly delayMsMax: number
}

/** @throws INVALID_ARGUMENT */
export function resolveAttempts({ retries, retryDelayMs, retryDelayMsMax }: HandlerOptions): Attempts {
  return {
    retries: whole('retries', retries ?? RETRIES, 0, DELAY_MS_MAX),
    delayMs: whole('retryDelayMs', retryDelayMs ?? RETRY_DELAY_MS, 0, DELAY_MS_MAX),
    delayMsMax: whole('retryDelayMsMax', retryDelayMsMax ?? RETRY_DELAY_MS_MAX, 0, DELAY_MS_MAX),
  }
}

/**
 * @param work tried until it returns
 * @returns undefined when it did; what it threw last when it was tried as often as it may be; 'unwanted' when the
 *   partition was given up or moved meanwhile
 */
export async function attempt(
  delivery: Delivery,
  work: () => unknown,
  { retries, delayMs, delayMsMax }: Attempts,
  failed: (error: unknown, attempt: number) => void,
  isOver: () => boolean,
): Promise<undefined | 'unwanted' | { readonly error: unknown }> {
  for (let tries = 1; ; tries++) {
    try {
      delivery.sinceMs = performance.now()
      await work()
      return undefined
    } catch (error) {
      failed(error, tries)
      if (tries > retries) return { error }
      const untilMs = performance.now() + Math.min(delayMs * 2 ** (tries - 1), delayMsMax)
      // A pause is no work: neither does it stall the consumer, nor does it hold up a partition that is to be given up.
      for (;;) {
        delivery.sinceMs = performance.now()
        if (!delivery.isWanted || isOver()) return 'unwanted'
        const leftMs = untilMs - delivery.sinceMs
        if (leftMs <= 0) break
        await setTimeout(Math.min(leftMs, PAUSE_LOOK_MS))
      }
    }
  }
}

/** Handles the records of a batch in their order, as long as they are wanted. */
export async function handleRecords(
  delivery: Delivery,
  handle: (record: ConsumedRecord) => Promise<boolean>,
  isOver: () => boolean,
): Promise<void> {
  for (const record of delivery.batch) {
    if (!delivery.isWanted || isOver()) return
    if (!(await handle(record))) return
    delivery.handled(record.offset + 1)
  }
  delivery.handled(delivery.batch.nextOffset)
}
