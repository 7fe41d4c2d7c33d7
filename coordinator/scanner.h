/*
 * Scanner: one page of a scan over the whole store, or of a snapshot.
 *
 * The cursor is that of the shards: a place in the order of (hash, key), which is also the order of
 * slots. The scanner asks the owner of the slot that the cursor is in, up to the end of the stretch
 * that it owns, then goes on with the next stretch, until the page is full. A key that is present
 * throughout is found wherever its slot is owned at the time.
 *
 * Only so many pages are under way at a time, the others wait for their turn: shards have other
 * things to do as well. Clients that do not take the replies they have got have no turn.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_SCANNER_H
#define SC_COORDINATOR_SCANNER_H

#include "common/msg.h"
#include "common/sp.h"

struct sc_fleet;
struct sc_scan;

/* Part of a fleet; all zero at first. */
struct sc_scanner {
    struct sc_scan *first, *last; /* pages that have not been begun, oldest first */
    uint32_t running;
};

/* Answers `origin`, now or later. */
void sc_scanner_start(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin);

/* snapshot.read: likewise, with what the shard that has the snapshot says. */
void sc_scanner_read(struct sc_fleet *fleet, const struct sc_msg_copy *copy,
                     const struct sc_sp_origin *origin);

/* Begins pages that wait, as far as there is room. */
void sc_scanner_flush(struct sc_fleet *fleet);

/* Answers what waits: the fleet is being closed. */
void sc_scanner_stop(struct sc_fleet *fleet);

#endif
