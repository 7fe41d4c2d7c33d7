/*
 * Steward: the thread that writes the map log. It takes changes of the map, appends them in the
 * order in which they came, and reports each when it is durable: only then may the map in memory
 * change, and anything that depends on it be done.
 */
#ifndef SC_COORDINATOR_STEWARD_H
#define SC_COORDINATOR_STEWARD_H

#include "common/sp.h"
#include "coordinator/maplog.h"

struct sc_steward;

/* What became of a change: SC_OK, it is durable; SC_UNKNOWN, the next start finds out; any other
 * status, with a sentence: it is certainly not recorded. Called with the hub's lock held. */
typedef void sc_steward_done_fn(void *arg, enum sc_status status, const char *why);

/* apply(apply_arg, change) is called with the hub's lock held for each change that has become
 * durable, before its own `done`. Borrows hub and log until stop. Lock not held. */
enum sc_status sc_steward_start(struct sc_sp_hub *hub, struct sc_maplog *log,
                                void (*apply)(void *arg, const struct sc_change *change),
                                void *apply_arg, struct sc_steward **out, char *why);

/* Changes that wait are given up, and nobody is told any more. Lock not held. NULL is allowed. */
void sc_steward_stop(struct sc_steward *steward);

/* Asks for a change to be recorded; `done` may be NULL. Copies the change, and fills in its numbers
 * (sc_maplog_number). Lock held. */
void sc_steward_put(struct sc_steward *steward, const struct sc_change *change,
                    sc_steward_done_fn *done, void *arg);

#endif
