/** With `MILLRACE_SEED` the property tests draw from that seed as well; without it from one of their own each time. */
const seed = Number(process.env['MILLRACE_SEED'])
if (Number.isInteger(seed) && seed > 0) {
  const { configureGlobal } = await import('fast-check')
  configureGlobal({ seed })
}

export {}
