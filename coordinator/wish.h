/*
 * Wish: an operator's request that is answered when what it asks for is in the map log.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_WISH_H
#define SC_COORDINATOR_WISH_H

#include "coordinator/fleet.h"

/* Has the change recorded, then answers `origin`: by tell(arg, origin), or [0] when that is NULL;
 * with a status if it could not be recorded. */
void sc_wish_record(struct sc_fleet *fleet, const struct sc_change *change,
                    const struct sc_sp_origin *origin,
                    void (*tell)(void *arg, const struct sc_sp_origin *origin), void *arg);

/* The fleet is being closed: nobody will be told what became of the wishes that are left. */
void sc_wish_forget_all(struct sc_fleet *fleet);

/* Answers at once. */
void sc_wish_answer(const struct sc_sp_origin *origin, enum sc_status status, const char *why);

#endif
