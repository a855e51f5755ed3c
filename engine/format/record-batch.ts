/** The record batch, version 2: its layout, header access and check (`batch-layout.ts`), and encoding (`batch-encoder.ts`). */
export * from './batch-encoder.ts'
export * from './batch-layout.ts'
