/*
 * Failpoints: named places between durable steps at which a test kills the process, as a crash
 * would. They are always compiled in and off unless the environment says
 *
 *   SHARDCASK_FAILPOINT=name[:count]     SIGKILL at the count-th passing (1 if left out)
 */
#ifndef SC_SHARD_FAILPOINT_H
#define SC_SHARD_FAILPOINT_H

/* Reads the environment; called whenever a store is opened. */
void sc_failpoint_init(void);

/* The place with this name is passed. Any thread. */
void sc_failpoint(const char *name);

#endif
