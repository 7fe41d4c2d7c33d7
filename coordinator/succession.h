/*
 * Succession: slots change hands, once MOVED is in the map log. First the source is fenced: it is
 * granted the new map, or the time is over until which it answers reads, if it cannot be reached.
 * Only then is the target granted the new map, and serves.
 *
 *   FENCE --source granted, or its time is over--> ACTIVATE --target granted--> DONE
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_SUCCESSION_H
#define SC_COORDINATOR_SUCCESSION_H

#include "coordinator/fleet.h"

enum sc_succession_stage { SC_SUCCESSION_FENCE, SC_SUCCESSION_ACTIVATE, SC_SUCCESSION_DONE };

/* Readable: stage. */
struct sc_succession {
    struct sc_fleet *fleet; /* constant, like the next three */
    uint64_t move;
    uint32_t from, to;
    enum sc_succession_stage stage;
    uint64_t lease_over_ms; /* from when on the source certainly answers no reads */
};

/* MOVED of `batch` is durable. */
void sc_succession_begin(struct sc_succession *succession, struct sc_fleet *fleet,
                         const struct sc_cluster_batch *batch, uint64_t lease_over_ms);

/* Goes on as far as it can: to be called again when a backend has changed, and from the timer. */
void sc_succession_advance(struct sc_succession *succession);

/* For sc_backend_shared.may_grant. */
bool sc_succession_may_grant(const struct sc_succession *succession,
                             const struct sc_backend *backend);

#endif
