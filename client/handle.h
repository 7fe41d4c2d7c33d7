/*
 * The handle: one connection, the lanes that share it, and what is called back.
 *
 * Threads. A calling thread checks and describes its work in a job on its own stack, pushes it to a
 * lane and sleeps until the job has ended; only the first of an idle lane takes the hub's lock.
 * Replies arrive on threads of nng, which give each operation its result, wake the callers, and
 * then send what has gathered. Callbacks run on a thread of their own, without any lock.
 */
#ifndef SC_CLIENT_HANDLE_H
#define SC_CLIENT_HANDLE_H

#include "client/async.h"
#include "client/job.h"
#include "client/lane.h"
#include "client/shardcask.h"
#include "common/msg.h"
#include "common/sp.h"

struct shardcask {
    /* Constant after open. */
    struct sc_sp_hub *hub;
    uint32_t timeout_ms;
    size_t message_max;

    /* Guarded by the hub's lock, but what the lanes say of themselves. */
    struct sc_sp_link *link; /* NULL before it dials, and when the handle closes */
    struct sc_lane lanes[SC_LANE_COUNT];
    bool closing; /* nothing is sent any more */
    struct sc_job *opening; /* shardcask_open waits for the connection */

    struct sc_async async;
};

/* Completes a job (its deadline and counts) and hands it to a lane. */
void sc_handle_start(struct shardcask *handle, enum sc_lane_kind kind, struct sc_job *job);

/* Carries out one operation by a thread that waits; returns its status, with the thread's sentence
 * set. op->why is freed. */
int sc_handle_run(struct shardcask *handle, struct shardcask_op *op);

/* Sends a request as bytes and waits for the reply, whose body goes into `reply`. SC_OK: there is
 * one, whatever it says. `repeatable`: it may be sent again. */
int sc_handle_call(struct shardcask *handle, struct sc_slice request, bool repeatable,
                   struct shardcask_value *reply);

/* The same, and takes the reply apart: its status, with the thread's sentence set, or
 * SC_INTERNAL when it makes no sense. `parsed` points into `reply`. */
int sc_handle_ask(struct shardcask *handle, struct sc_slice request, bool repeatable,
                  struct shardcask_value *reply, struct sc_msg_reply *parsed);

/* Sets the sentence for a reply to an operation whose result is none. */
int sc_handle_senseless(void);

#endif
