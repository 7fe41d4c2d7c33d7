/*
 * Tasks: requests about keys, from the message to its reply: operations on one key, batches of
 * them, scans.
 *
 *   item --what it needs is in memory--> carried out at once
 *        --it is not, or an operation on its key is parked--> parked (shard/parking.h), carried out
 *                                                             when the disk has given it
 *
 * A message that needs nothing from the disk is answered where it arrives. Of any other, a copy is
 * kept; its items that need nothing are carried out all the same, so that only operations on one
 * key are certain to keep their order, and the reply leaves when the last has been carried out. An
 * operation takes effect as a whole at the moment when it is carried out, under the lock, whatever
 * was fetched for it before. What comes too late for whoever asked is not begun.
 *
 * Memory: a message and the replies to its items count for the connection that it came from, which
 * is not read from when that is much; a message has SC_TASK_WAITING_MAX items parked at most before
 * it goes on, all together SC_PARKING_MAX.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_SHARD_TASK_H
#define SC_SHARD_TASK_H

#include "common/msg.h"
#include "shard/membership.h"
#include "shard/outbox.h"
#include "shard/parking.h"

#define SC_TASK_WAITING_MAX 4096u

struct sc_task;

/* Set before the start: the first five. */
struct sc_tasks {
    struct sc_bitcask *store; /* kept, like the next three */
    const struct sc_membership *membership;
    const struct sc_msg_limits *limits;
    struct sc_outbox *outbox;
    size_t message_max; /* bytes of a reply */

    struct sc_parking parking;
    struct sc_buf scratch; /* a reply under construction */
    struct sc_task *spare;
};

/* Starts the threads that wait for the disk. Lock not held. */
enum sc_status sc_tasks_start(struct sc_tasks *tasks, struct sc_sp_hub *hub, char *why);

/* Comes to the end of what was begun, ends the threads, frees. Lock not held; no task is begun any
 * more. */
void sc_tasks_stop(struct sc_tasks *tasks);

/* Whether a request is one for this module: SC_OP_SINGLE, SC_OP_MULTI, scans. */
bool sc_tasks_takes(enum sc_op op);

/* Carries out a request, now or later, and answers `origin`. `body` is the message that `request`
 * was parsed from; not to be begun after `deadline_ms` (monotonic; UINT64_MAX: none). */
void sc_tasks_run(struct sc_tasks *tasks, const struct sc_msg_request *request,
                  const struct sc_sp_origin *origin, struct sc_slice body, uint64_t deadline_ms);

#endif
