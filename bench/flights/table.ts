/** The result of the main job as a table: the busiest airports with their flights and mean delay. Pure functions. */
import type { Totals } from './expected.ts'

export const TOP = 15

/** Lines of the table, the busiest airport first. */
export function busiestAirports(airports: readonly string[], totals: Totals, top = TOP): string[] {
  const order = airports.map((_, airport) => airport)
  order.sort((a, b) => (totals.flights[b] as number) - (totals.flights[a] as number))
  const lines = order.slice(0, top).map(airport => {
    const count = totals.flights[airport] as number
    const mean = (totals.delays[airport] as number) / count
    return `${(airports[airport] as string).padEnd(7)}  ${count.toLocaleString('en-US').padStart(9)}  ${mean.toFixed(2).padStart(14)}`
  })
  return [`${'airport'}  ${'flights'.padStart(9)}  ${'mean delay/min'}`, '─'.repeat(34), ...lines]
}
