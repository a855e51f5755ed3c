/** Topics of a cluster that are its own: clients see them, and neither write to them nor delete them. */

/** The journal of the groups. */
export const GROUPS_TOPIC = '__millrace_groups'
