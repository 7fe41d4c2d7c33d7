/*
 * Backend: the coordinator's end of one shard. It keeps the link, introduces the shard to the
 * cluster, and carries requests for single keys to it, many in one message.
 *
 *            down --connected--> hello --fresh directory--> adopt --> log it --> grant --> up
 *             ^                    |                                       ^
 *             |                    +--carries our ids----------------------+
 *             +--- connection lost, from anywhere; or "refused": the directory is the wrong one
 *
 * Requests wait in one of two lanes, for reads and for everything that may write, and what waits
 * goes out as one message when the lane has few enough in flight: under load messages grow, when
 * idle nothing waits. Reads have a lane of their own so that they do not wait for the disk: they go
 * as x.peek, and those that the shard sends back, since what they need is not in its memory, go
 * again as x.join in a third lane, for cold reads. So nobody waits for the disk but who needs it.
 *
 * Inside a lane the order of submission is kept, and between reads of one client's request on the
 * same key: when one of them goes to the third lane, those behind it do too.
 *
 * A shard that was stopped or cut off for longer than the time-out of a message refuses it when it
 * comes to it: what has ended as unknown here is not carried out long after.
 *
 * The requests of a client that does not take the replies it has got are put aside: what they would
 * bring does not gather here, and they stand in nobody's way until it does.
 *
 * A request is never sent twice, except one that the shard says it has not begun. When the
 * connection is lost, reads in flight end as unavailable (they may be tried again), writes in
 * flight as unknown; what had not been sent ends as unavailable.
 *
 * Everything here is guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_BACKEND_H
#define SC_COORDINATOR_BACKEND_H

#include "common/config.h"
#include "common/sp.h"
#include "coordinator/cluster.h"
#include "coordinator/run.h"

struct sc_backend;

enum sc_backend_lane { SC_BACKEND_READS, SC_BACKEND_WRITES, SC_BACKEND_COLD, SC_BACKEND_LANES };

/* What all backends of a coordinator share; constant after open. */
struct sc_backend_shared {
    struct sc_sp_hub *hub;
    const struct sc_cluster *cluster;
    uint32_t timeout_ms; /* of one message to a shard */
    size_t message_max;
    const struct sc_config *config; /* what it gives is sent to a shard that comes up */
    /* A fresh directory has taken its id: to be put into the map log. The backend goes on when
     * sc_backend_adopted is called. */
    void (*on_adopted)(void *arg, struct sc_backend *backend);
    void *arg;
};

/* Begins to connect. Borrows `shared`. Lock held, as everywhere here. */
enum sc_status sc_backend_open(const struct sc_backend_shared *shared, uint32_t shard_id,
                               const char *url, struct sc_backend **out, char *why);

/* Ends what is under way and frees. Not from a callback of its own. NULL is allowed. */
void sc_backend_close(struct sc_backend *backend);

uint32_t sc_backend_shard_id(const struct sc_backend *backend);
bool sc_backend_up(const struct sc_backend *backend);

/* Why it is down, in words: "shard 2 at URL: ...". Valid until the next call. */
const char *sc_backend_why(struct sc_backend *backend);

/* The map log has the adoption: goes on to the grant. */
void sc_backend_adopted(struct sc_backend *backend);

/* Sends the map to the shard, which serves its slots from then on (or hears of a new epoch). */
void sc_backend_grant(struct sc_backend *backend);

/* From the hub's tick: asks a shard that was refused again, now and then. */
void sc_backend_tick(struct sc_backend *backend);

/* Puts a single-key request into a lane, for reads or writes: the caller appends the encoded
 * request to the buffer that is returned and calls sc_backend_submit_end. NULL: the backend is down
 * or its queue is full, and the target has been answered. */
struct sc_buf *sc_backend_submit_begin(struct sc_backend *backend, enum sc_backend_lane lane,
                                       const struct sc_run_target *target);
void sc_backend_submit_end(struct sc_backend *backend, enum sc_backend_lane lane);

/* Sends what waits, as far as the lanes allow. To be called when a receive has been worked off. */
void sc_backend_flush(struct sc_backend *backend);

/* One request of its own, outside the lanes. done(call, status, reply) is called exactly once;
 * `status` is SC_OK with the reply's body, or SC_UNAVAILABLE (never sent), or SC_UNKNOWN. The call
 * is the caller's memory until then. */
struct sc_backend_call {
    void (*done)(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply);
};
void sc_backend_call(struct sc_backend *backend, struct sc_backend_call *call,
                     struct sc_slice request);

/* Figures for stats. */
struct sc_backend_counts {
    uint64_t messages; /* sent in lanes */
    uint64_t operations; /* in them */
    uint64_t waiting; /* operations that have not been sent yet */
};
void sc_backend_counts(const struct sc_backend *backend, struct sc_backend_counts *counts);

/* Requests that have not been answered yet, in lanes and calls. */
uint64_t sc_backend_outstanding(const struct sc_backend *backend);

#endif
