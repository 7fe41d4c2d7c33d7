#include "client/peer.h"

#include "client/handle.h"
#include "common/clock.h"

#include <assert.h>
#include <stdlib.h>

void sc_peer_init(struct sc_peer *peer, struct shardcask *handle)
{
    *peer = (struct sc_peer){.handle = handle};
    atomic_init(&peer->usable, false);
    struct sc_lane_options options = {
        .join_max = handle->join_max, .join_bytes = handle->join_bytes, .clock = &peer->clock};
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_init(&peer->lanes[i], (enum sc_lane_kind)i, &options);
    }
}

void sc_peer_fini(struct sc_peer *peer)
{
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_fini(&peer->lanes[i]);
    }
}

const char *sc_peer_why(const struct sc_peer *peer)
{
    return peer->link != NULL ? sc_sp_link_why(peer->link) : "";
}

void sc_peer_stir(struct sc_peer *peer)
{
    if (!peer->stirred) {
        peer->stirred = true;
        SLIST_INSERT_HEAD(&peer->handle->stirred, peer, stir);
    }
}

void sc_peer_push(struct sc_peer *peer, enum sc_lane_kind kind, struct sc_job *job)
{
    if (sc_lane_push(&peer->lanes[kind], job)) {
        sc_peer_stir(peer);
    }
}

static bool has_ended(void *arg)
{
    return sc_job_has_ended(arg);
}

void sc_peer_run(struct sc_peer *peer, enum sc_lane_kind kind, struct sc_job *job)
{
    struct sc_sp_hub *hub = peer->handle->hub;
    if (sc_lane_push(&peer->lanes[kind], job)) {
        sc_sp_hub_lock(hub);
        sc_peer_stir(peer);
        if (sc_peer_up(peer) && sc_sp_link_in_flight(peer->link) == 0) {
            sc_sp_link_serve(peer->link, has_ended, job);
        } else {
            sc_sp_hub_unlock(hub);
        }
    }
    sc_job_wait(job);
}

/* Whether what a lane has not sent waits for better times. */
static bool lane_waits(const struct sc_peer *peer, enum sc_lane_kind kind)
{
    if (peer->closed) {
        return false;
    }
    if (kind == SC_LANE_CALLS) {
        return sc_peer_up(peer) || peer == &peer->handle->coordinator;
    }
    return sc_peer_usable(peer) || peer->patient;
}

void sc_peer_pump(struct sc_peer *peer)
{
    if (peer->link != NULL) {
        sc_sp_link_check(peer->link);
    }
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        struct sc_lane *lane = &peer->lanes[i];
        if (!lane_waits(peer, (enum sc_lane_kind)i)) {
            const char *why = peer->closed ? "the handle was closed" : sc_peer_why(peer);
            sc_lane_abandon(lane, *why != '\0' ? why : "no connection");
        } else if (peer->link != NULL) {
            sc_lane_pump(lane, peer->link);
        }
    }
}

/* A request ran out of time and nothing was heard since it was sent: whoever is there has been
 * stopped, or cannot be reached any more. To be told so by the coordinator is better than to wait
 * for each request in turn. */
static bool is_silent(const struct sc_peer *peer, uint64_t sent_ms)
{
    return peer != &peer->handle->coordinator && sc_peer_up(peer) && peer->heard_ms < sent_ms;
}

void sc_peer_reply(struct sc_peer *peer, void *tag, enum sc_status status, struct sc_slice body)
{
    uint64_t sent_ms = sc_lane_sent_ms(tag);
    if (status == SC_OK) {
        peer->heard_ms = sc_clock_mono_ms();
    }
    sc_peer_stir(peer);
    if (!sc_lane_reply(tag, status, body)) {
        sc_sp_link_reset(peer->link, "a reply made no sense");
    } else if (status != SC_OK && is_silent(peer, sent_ms)) {
        sc_sp_link_reset(peer->link, "it does not answer");
    }
}

void sc_peer_tick(struct sc_peer *peer, uint64_t now_ms)
{
    for (size_t i = 0; i < SC_LANE_COUNT; i++) {
        sc_lane_tick(&peer->lanes[i], now_ms, sc_peer_why(peer));
    }
    if (peer->link != NULL) {
        sc_sp_link_nudge(peer->link);
    }
    sc_peer_stir(peer);
}

void sc_peer_hang_up(struct sc_peer *peer)
{
    struct sc_sp_link *link = peer->link;
    atomic_store(&peer->usable, false);
    sc_sp_link_close(link); /* ends what is on its way */
    peer->link = NULL;
    sc_peer_stir(peer);
}

/* ---- Errands ---- */

static void errand_ended(struct sc_job *job)
{
    struct sc_errand *errand = (struct sc_errand *)job; /* its first member */
    struct sc_msg_reply reply;
    errand->under_way = false;
    bool answered = job->status == SC_OK &&
                    sc_msg_parse_reply(sc_slice(errand->reply.data, errand->reply.size), &reply);
    free(job->why);
    errand->done(errand, answered ? &reply : NULL);
}

void sc_errand_send(struct sc_errand *errand, struct sc_peer *peer, enum sc_op op,
                    uint32_t timeout_ms)
{
    assert(!errand->under_way);
    errand->under_way = true;
    errand->request.size = 0;
    sc_msg_put_op(&errand->request, op, 0);
    errand->job = (struct sc_job){
        .request = sc_buf_slice(&errand->request),
        .reply = &errand->reply,
        .count = 1,
        .left = 1,
        .deadline_ms = sc_clock_mono_ms() + timeout_ms,
        .ended = errand_ended,
    };
    sc_peer_push(peer, SC_LANE_CALLS, &errand->job);
}

void sc_errand_fini(struct sc_errand *errand)
{
    sc_buf_fini(&errand->request);
    shardcask_value_free(&errand->reply);
}
