/*
 * Room: whether the shards that are to get slots have disk and memory for what is in them.
 *
 * The slots of a shard are taken to hold equal parts of what it has, which it told some seconds
 * ago. What is already on its way counts as if it were still to come. Shards that share a disk are
 * not known to do so. All this is for telling early: a target judges every batch by itself.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_ROOM_H
#define SC_COORDINATOR_ROOM_H

#include "coordinator/draft.h"
#include "coordinator/fleet.h"

/* SC_IO: a shard lacks disk; SC_BUSY: memory (--max-memory). Shards that have not told what they
 * have are not judged. */
enum sc_status sc_room_check(const struct sc_fleet *fleet, const struct sc_draft *draft, char *why);

#endif
