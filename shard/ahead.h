/*
 * Ahead: a thread that gives a store the help it needs (sc_bitcask_help_begin): it makes the next
 * data file before the active one is full, which takes some syncs of the disk, and gives back the
 * space behind full ones. So no write waits for that, unless writes fill half a file faster than
 * the thread makes one.
 *
 * The thread never touches the store itself: whoever calls for the store, one at a time, hands the
 * work over and takes the result back when he polls.
 */
#ifndef SC_SHARD_AHEAD_H
#define SC_SHARD_AHEAD_H

#include "shard/bitcask.h"

struct sc_ahead;

enum sc_status sc_ahead_start(struct sc_bitcask *store, struct sc_ahead **out, char *why);

/* Takes back what is done, and hands over what there is to do. To be called after commits; costs
 * next to nothing. With the store's lock. NULL is allowed. */
void sc_ahead_poll(struct sc_ahead *ahead);

/* Waits until the thread has nothing to do. With the store's lock. */
void sc_ahead_wait(struct sc_ahead *ahead);

/* Ends the thread, after what it is at, which is milliseconds. With the store's lock. NULL is
 * allowed. */
void sc_ahead_stop(struct sc_ahead *ahead);

#endif
