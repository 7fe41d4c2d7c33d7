/*
 * Grants: the coordinator says which slots a store serves from now on.
 *
 * Slots that it had and is not granted any more are fenced: durably, before anybody may be told,
 * and then forgotten. Slots that have arrived whole become its own. What is granted must be there:
 * a slot that is not the store's and has not arrived is refused, since it would be served empty.
 */
#ifndef SC_SHARD_GRANT_H
#define SC_SHARD_GRANT_H

#include "shard/fence.h"

/* See sc_bitcask_grant. May wait for a merge to be given up. The slots that are lost must not be
 * used any more when it is called. SC_UNAVAILABLE: told to stop. */
enum sc_status sc_grant_run(struct sc_bitcask *store, const struct sc_move_host *host,
                            uint64_t term, uint64_t epoch, const uint8_t owned[SC_SLOT_COUNT / 8],
                            char *why);

#endif
