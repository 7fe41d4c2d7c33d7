/*
 * Scanner: one page of a scan over the whole store.
 *
 * The cursor is that of the shards: a place in the order of (hash, key), which is also the order of
 * slots. The scanner asks the owner of the slot that the cursor is in, up to the end of the stretch
 * that it owns, then goes on with the next stretch, until the page is full. A key that is present
 * throughout is found wherever its slot is owned at the time.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_SCANNER_H
#define SC_COORDINATOR_SCANNER_H

#include "common/msg.h"
#include "coordinator/fleet.h"

/* Answers `origin`, now or later. */
void sc_scanner_start(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin);

#endif
