/*
 * A peer: one server that a handle talks to, the coordinator or (client/direct.h) a shard. It is a
 * connection and the lanes that share it.
 *
 * Whoever gives a peer something to do stirs it; all peers that were stirred are pumped together
 * before the hub's lock is let go, so that what belongs to one server leaves in one send.
 *
 * Everything is guarded by the hub's lock, but sc_peer_usable and sc_peer_run.
 */
#ifndef SC_CLIENT_PEER_H
#define SC_CLIENT_PEER_H

#include "client/lane.h"
#include "common/msg.h"
#include "common/sp.h"

#include <sys/queue.h>

struct shardcask;

struct sc_peer {
    struct shardcask *handle; /* constant, like the next one */
    uint32_t number; /* 0: the coordinator */
    struct sc_sp_link *link; /* NULL before it is dialled, and once it is closed */
    struct sc_lane lanes[SC_LANE_COUNT];
    struct sc_lane_clock clock;
    atomic_bool usable; /* operations may be sent here; set under the lock */
    bool patient; /* operations wait until it is usable; else they end as unsent */
    bool closed; /* for good: everything that waits ends */
    uint64_t heard_ms; /* when the last reply came */
    bool stirred;
    SLIST_ENTRY(sc_peer) stir;
};

SLIST_HEAD(sc_peer_list, sc_peer);

void sc_peer_init(struct sc_peer *peer, struct shardcask *handle);

/* The connection is closed and everything has ended. */
void sc_peer_fini(struct sc_peer *peer);

/* True when operations can be sent to it, as far as is known. Any thread. */
static inline bool sc_peer_usable(const struct sc_peer *peer)
{
    return atomic_load_explicit(&peer->usable, memory_order_relaxed);
}

static inline bool sc_peer_up(const struct sc_peer *peer)
{
    return peer->link != NULL && sc_sp_link_up(peer->link);
}

/* Why there is no connection, in words. Valid until the lock is released. */
const char *sc_peer_why(const struct sc_peer *peer);

/* Hands a job to a lane; with the lock held. */
void sc_peer_push(struct sc_peer *peer, enum sc_lane_kind kind, struct sc_job *job);

/* The same by a thread that does not hold the lock, and waits until the job, which ends with
 * sc_job_end, has ended. Whoever waits alone for a server receives from it on its own thread. */
void sc_peer_run(struct sc_peer *peer, enum sc_lane_kind kind, struct sc_job *job);

/* Has the peer looked at before the lock is let go. */
void sc_peer_stir(struct sc_peer *peer);

/* Sends what can be sent, and ends what has to. */
void sc_peer_pump(struct sc_peer *peer);

/* The end of a message, for the link's on_reply. */
void sc_peer_reply(struct sc_peer *peer, void *tag, enum sc_status status, struct sc_slice body);

void sc_peer_tick(struct sc_peer *peer, uint64_t now_ms);

/* Closes the connection: what is on its way ends during the call, what waits when the peer is
 * pumped. It may be dialled anew. */
void sc_peer_hang_up(struct sc_peer *peer);

/* ---- Errands: requests of the library's own ---- */

struct sc_errand {
    struct sc_job job;
    struct sc_buf request;
    struct shardcask_value reply;
    bool under_way;
    void *arg; /* the sender's own */
    /* The end: its reply, whatever its status, or NULL when there is none. Lock held; another
     * errand may be sent from here. */
    void (*done)(struct sc_errand *errand, const struct sc_msg_reply *reply);
};

/* Asks [op]; the errand is not under way. */
void sc_errand_send(struct sc_errand *errand, struct sc_peer *peer, enum sc_op op,
                    uint32_t timeout_ms);

void sc_errand_fini(struct sc_errand *errand);

#endif
