/*
 * Repair: what has to be done before a damaged directory can be opened for writing.
 *
 * - MANIFEST that is lost, or damaged in both of its copies, is made again from MANIFEST.copy,
 *   which is written before it, every time: it says the same, or what was just about to hold. What
 * is in the way goes into the quarantine, and data files that the copy does not list get a name
 * there.
 * - Data files that have each other's names get their own: their heads say which they are.
 *
 * Each step is one link or one rename. No bytes are removed. It can be done again, and on a
 * directory in which nothing is wrong it does nothing.
 */
#ifndef SC_SHARD_REPAIR_H
#define SC_SHARD_REPAIR_H

#include "common/status.h"

/* Called with a sentence for each thing that was done. */
typedef void sc_repair_tell_fn(void *arg, const char *sentence);

/* SC_BUSY: another process has the directory open. SC_CORRUPT: it cannot be decided what belongs to
 * the store. SC_NOTFOUND: there is none. SC_IO: what was done so far is done. */
enum sc_status sc_repair_prepare(const char *dir, sc_repair_tell_fn *tell, void *arg, char *why);

#endif
