/**
 * Subscription patterns. They come from clients and run in the coordinator, so they run on RE2's engine, whose time grows
 * with the length of the topic name and not with what the pattern could backtrack through. A pattern has to match the whole
 * name, as in Kafka. RE2 has neither back references nor look-around.
 */
import { RE2JS } from 're2js'
import { MillraceError } from '../base/errors.ts'
import { TOPIC_PATTERN_CHARACTERS_MAX } from '../base/limits.ts'

export class TopicPattern {
  readonly text: string
  readonly #compiled: RE2JS
  #topics: readonly string[] = []
  #version = -1

  /** @throws INVALID_REGULAR_EXPRESSION */
  constructor(text: string) {
    this.text = text
    if (text.length > TOPIC_PATTERN_CHARACTERS_MAX) {
      throw new MillraceError('INVALID_REGULAR_EXPRESSION', {
        characters: text.length,
        charactersMax: TOPIC_PATTERN_CHARACTERS_MAX,
      })
    }
    try {
      this.#compiled = RE2JS.compile(text)
    } catch (error) {
      throw new MillraceError('INVALID_REGULAR_EXPRESSION', { pattern: text }, error)
    }
  }

  matches(topic: string): boolean {
    return this.#compiled.matches(topic)
  }

  /**
   * The topics that match, in ascending order; found once for each version of the directory.
   * Cost: linear in the number of topics when the version is a new one.
   */
  topicsOf(directory: { readonly version: number; names(): Iterable<string> }): readonly string[] {
    if (this.#version !== directory.version) {
      this.#topics = [...directory.names()].filter(name => this.matches(name)).sort()
      this.#version = directory.version
    }
    return this.#topics
  }
}
