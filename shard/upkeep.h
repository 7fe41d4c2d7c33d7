/*
 * Upkeep: what a store needs done beside the traffic. On the tick, a few slots at a time, expired
 * keys are swept from the keydir; on a thread of its own, sealed data files get their hint files.
 */
#ifndef SC_SHARD_UPKEEP_H
#define SC_SHARD_UPKEEP_H

#include "common/sp.h"
#include "shard/bitcask.h"

struct sc_upkeep;

/* Starts the thread. Borrows hub and store until stop. Lock not held. */
enum sc_status sc_upkeep_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                               struct sc_upkeep **upkeep, char *why);

/* Ends the thread, after the file that it is at. Lock not held. NULL is allowed. */
void sc_upkeep_stop(struct sc_upkeep *upkeep);

/* From the hub's tick, lock held: sweeps a little, wakes the thread if there is work. */
void sc_upkeep_tick(struct sc_upkeep *upkeep);

#endif
