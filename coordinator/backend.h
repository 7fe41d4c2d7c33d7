/*
 * Backend: the coordinator's end of one shard. It keeps the link and introduces the shard to the
 * cluster; requests for single keys travel in its lanes.
 *
 *            down --connected--> hello --fresh directory--> adopt --> log it --> grant --> up
 *             ^                    |                                       ^
 *             |                    +--carries our ids----------------------+
 *             +--- connection lost, from anywhere; or "refused": the directory is the wrong one
 *
 * A shard that was stopped or cut off for longer than the time-out of a message refuses it when it
 * comes to it: what has ended as unknown here is not carried out long after.
 *
 * Everything here is guarded by the hub's lock.
 */
#ifndef SC_COORDINATOR_BACKEND_H
#define SC_COORDINATOR_BACKEND_H

#include "common/config.h"
#include "common/sp.h"
#include "coordinator/cluster.h"
#include "coordinator/introduction.h"
#include "coordinator/lanes.h"

struct sc_backend;

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
    /* Whether the shard may be sent the present map now. If not, it stays down, and whoever said so
     * calls sc_backend_grant in time. */
    bool (*may_grant)(void *arg, const struct sc_backend *backend);
    /* The shard has got a map (sc_backend_epoch says which), or is not up any more. */
    void (*on_change)(void *arg, struct sc_backend *backend);
    /* The shard does not own the slot of a read: it goes to whoever does. */
    void (*on_bounce)(void *arg, struct sc_backend *backend, const struct sc_target *target,
                      struct sc_slice request);
    void *arg;
};

/* Begins to connect. Borrows `shared`. Lock held, as everywhere here. */
enum sc_status sc_backend_open(const struct sc_backend_shared *shared, uint32_t shard_id,
                               const char *url, struct sc_backend **out, char *why);

/* Ends what is under way and frees. Not from a callback of its own. NULL is allowed. */
void sc_backend_close(struct sc_backend *backend);

uint32_t sc_backend_shard_id(const struct sc_backend *backend);
const char *sc_backend_url(const struct sc_backend *backend);
struct sc_sp_hub *sc_backend_hub(const struct sc_backend *backend);
struct sc_lanes *sc_backend_lanes(struct sc_backend *backend);
bool sc_backend_up(const struct sc_backend *backend);

/* The epoch of the map that the shard got last, 0: none since it was connected. */
uint64_t sc_backend_epoch(const struct sc_backend *backend);

/* What the shard said of itself when it was introduced; what it has, some seconds ago at most. */
const struct sc_introduction_hello *sc_backend_hello(const struct sc_backend *backend);

/* Why it is down, in words: "shard 2 at URL: ...". Valid until the next call. */
const char *sc_backend_why(struct sc_backend *backend);

/* The map log has the adoption: goes on to the grant. */
void sc_backend_adopted(struct sc_backend *backend);

/* Sends the map to the shard, which serves its slots from then on (or hears of a new epoch). */
void sc_backend_grant(struct sc_backend *backend);

/* From the hub's tick: asks a shard that was refused again, now and then, and others what they
 * have. */
void sc_backend_tick(struct sc_backend *backend);

/* One request of its own, outside the lanes. done(call, status, reply) is called exactly once;
 * `status` is SC_OK with the reply's body, or SC_UNAVAILABLE (never sent), or SC_UNKNOWN. The call
 * is the caller's memory until then. */
struct sc_backend_call {
    void (*done)(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply);
};
void sc_backend_call(struct sc_backend *backend, struct sc_backend_call *call,
                     struct sc_slice request);

/* Translates a time in the future, by our monotonic clock, for the shard: stores into `theirs` what
 * its own shows then, or a little later, and into `over_ms` from when on, by ours, that has
 * certainly passed there. False: the shard has not told its clock. It is asked for it again all the
 * time, since the clocks of two machines drift apart. */
#define SC_BACKEND_CLOCK_MS 5000u /* so far ahead `over_ms` may be, at most, whoever asks */
bool sc_backend_translate(const struct sc_backend *backend, uint64_t time_ms, uint64_t *theirs,
                          uint64_t *over_ms);

/* ---- For its lanes ---- */

/* Begins and ends a message that the shard must not act upon once we have given it up. Only while
 * it is up. */
struct sc_buf *sc_backend_begin(struct sc_backend *backend, struct sc_backend_call *call);
void sc_backend_end(struct sc_backend *backend);

/* Breaks the connection, unless it is lost already. */
void sc_backend_reset(struct sc_backend *backend, const char *trouble);

void sc_backend_bounce(struct sc_backend *backend, const struct sc_target *target,
                       struct sc_slice request);

#endif
