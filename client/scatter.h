/*
 * Scatter: the operations of a batch, sent to the shards that own their keys, all at once.
 *
 *   attempt:  operations --by key--> a job for each server --> all end --> which to send again?
 *                 ^                                                              |
 *                 +---------------------- refused ones, in order ---------------+
 *
 * Runs on the thread of the caller, who waits.
 */
#ifndef SC_CLIENT_SCATTER_H
#define SC_CLIENT_SCATTER_H

#include "client/shardcask.h"

/* Carries out those of the operations that have not ended; every one has a status afterwards.
 * Returns the status of a message that failed as a whole, or SC_OK. */
int sc_scatter_run(struct shardcask *handle, struct shardcask_op *ops, size_t count);

#endif
