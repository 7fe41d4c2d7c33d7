/*
 * Threads, batches and asynchronous operations at once on one handle, while a test does harm to the
 * servers. Every key belongs to one worker, which knows how often it was counted up for certain and
 * how often perhaps.
 */
#ifndef SC_TESTS_CHAOS_H
#define SC_TESTS_CHAOS_H

#include "client/shardcask.h"

/* Starts the workers. */
void chaos_start(struct shardcask *handle);

/* Stops them, when the servers are well again, and checks: nothing was lost, doubled or left
 * waiting, and no status came that nothing explains. */
void chaos_end(void);

#endif
