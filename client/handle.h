/*
 * The handle: the coordinator and, for a direct client, the shards; and what is called back.
 *
 * Threads. A calling thread checks and describes its work in a job on its own stack, pushes it to a
 * lane and sleeps until the job has ended; only the first of an idle lane takes the hub's lock. If
 * nothing else is on its way to that server, it receives the reply itself (sc_sp_link_serve). Else
 * replies arrive on the hub's poller (threads of nng, where the connection's descriptor is not
 * known). Whoever receives gives each operation its result, wakes the callers, and then sends what
 * has gathered. Callbacks run on a thread of their own, without any lock.
 */
#ifndef SC_CLIENT_HANDLE_H
#define SC_CLIENT_HANDLE_H

#include "client/async.h"
#include "client/ordered.h"
#include "client/peer.h"
#include "client/shardcask.h"
#include "common/msg.h"
#include "common/sp.h"

struct sc_direct;

struct shardcask {
    /* Constant after open. */
    struct sc_sp_hub *hub;
    uint32_t timeout_ms;
    size_t message_max;
    size_t join_max; /* operations joined into one message at most ... */
    size_t join_bytes; /* ... and bytes */
    struct sc_direct *direct; /* NULL: everything goes through the coordinator */

    /* Guarded by the hub's lock, but what the lanes say of themselves. */
    struct sc_peer coordinator;
    struct sc_peer_list stirred; /* peers to be pumped before the lock is let go */
    struct sc_ordered ordered; /* of a direct client: what was submitted */
    bool closing; /* nothing is sent any more */
    struct sc_job *opening; /* shardcask_open waits */

    struct sc_async async;
};

/* Carries out one operation by a thread that waits; returns its status, with the thread's sentence
 * set. op->why is freed. */
int sc_handle_run(struct shardcask *handle, struct shardcask_op *op);

/* Hands operations that were submitted to whoever sends them: completes their job. A direct client
 * takes jobs of one operation only. True when sc_handle_send must be called. */
bool sc_handle_submit(struct shardcask *handle, struct sc_job *job);

/* Sends what was submitted, now or soon (sc_async_postpone). Lock not held. */
void sc_handle_send(struct shardcask *handle);

/* Sends it now, as far as it can be sent. Lock not held. */
void sc_handle_pump(struct shardcask *handle);

/* Sends a request as bytes to the coordinator and waits for the reply, whose body goes into
 * `reply`. SC_OK: there is one, whatever it says. `repeatable`: it may be sent again. */
int sc_handle_call(struct shardcask *handle, struct sc_slice request, bool repeatable,
                   struct shardcask_value *reply);

/* The same, and takes the reply apart: its status, with the thread's sentence set, or
 * SC_INTERNAL when it makes no sense. `parsed` points into `reply`. */
int sc_handle_ask(struct shardcask *handle, struct sc_slice request, bool repeatable,
                  struct shardcask_value *reply, struct sc_msg_reply *parsed);

/* Sets the sentence for a reply to an operation whose result is none. */
int sc_handle_senseless(void);

/* A shard has refused a slot at this epoch. Lock not held. */
void sc_handle_note_move(struct shardcask *handle, struct sc_peer *shard, uint64_t epoch);

/* Ends shardcask_open if there is nothing to wait for any more. Lock held. */
void sc_handle_check_opening(struct shardcask *handle);

#endif
