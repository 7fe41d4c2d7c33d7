/*
 * A member: a shard that a direct client (client/direct.h) talks to itself.
 *
 *   IDLE --wanted--> DIALLING --connected--> HELLO --it is the one--> READY
 *                       ^                      |                        |
 *                       +------ lost ----------+--------- lost ---------+
 *                                              +--not the one--> REFUSED, asked again later
 *
 * An address may lead to another process than the coordinator's: from another host, or because the
 * port has been given to somebody else since. So before anything is sent to it, a shard says which
 * cluster and which shard it is. It also tells its clock: then it never begins what has been given
 * up here.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_CLIENT_MEMBER_H
#define SC_CLIENT_MEMBER_H

#include "client/clustermap.h"
#include "client/peer.h"

struct sc_direct;

enum sc_member_state {
    SC_MEMBER_IDLE,
    SC_MEMBER_DIALLING,
    SC_MEMBER_HELLO,
    SC_MEMBER_READY,
    SC_MEMBER_REFUSED
};

/* Readable. */
struct sc_member {
    struct sc_peer peer;
    struct sc_direct *direct;
    uint32_t id; /* constant: the shard's */
    char url[SC_URL_MAX + 1]; /* where it is, or "" */
    bool wanted; /* it owns slots */
    enum sc_member_state state;
    bool tried; /* it has been reached, or the first attempt has failed */
    struct sc_errand hello;
    uint64_t hello_sent_ms;
    uint64_t retry_ms; /* REFUSED: when to ask again */
};

void sc_member_init(struct sc_member *member, struct sc_direct *direct, uint32_t id);

/* The connection is closed and everything has ended. */
void sc_member_fini(struct sc_member *member);

/* What the map says of it. A shard that is not wanted any more gets no more operations, and its
 * connection is closed when those on their way have ended. If its address is another one, the
 * connection is closed at once. */
void sc_member_want(struct sc_member *member, const char *url, bool wanted);

void sc_member_tick(struct sc_member *member, uint64_t now_ms);

#endif
