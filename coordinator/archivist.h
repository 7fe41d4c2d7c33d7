/*
 * Archivist: makes a backup of the fleet, on a thread of its own.
 *
 *   DIR made -> x.backup to every shard that owns slots -> x.progress until all have made their
 * cut: the map must be the same still -> ... until all are complete -> backup.json, by one rename
 *
 * When anything goes wrong before that, every shard is told to remove its part. One at a time; what
 * came of the last one is known until the next is begun.
 *
 * Guarded by the hub's lock, but for start and stop.
 */
#ifndef SC_COORDINATOR_ARCHIVIST_H
#define SC_COORDINATOR_ARCHIVIST_H

#include "common/msg.h"
#include "coordinator/fleet.h"

struct sc_archivist;

/* Starts the thread. Borrows the fleet until stop. Lock not held. */
enum sc_status sc_archivist_start(struct sc_fleet *fleet, struct sc_archivist **out, char *why);

/* Gives up what is under way and ends the thread; the fleet must still be open. Lock not held. NULL
 * is allowed. */
void sc_archivist_stop(struct sc_archivist *archivist);

/* backup: begins one, or gives it up, as the options say, and appends the reply: how far it is. */
void sc_archivist_backup(struct sc_archivist *archivist, const struct sc_msg_request *request,
                         struct sc_buf *reply);

#endif
