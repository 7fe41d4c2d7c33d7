#include "client/member.h"

#include "client/direct.h"
#include "client/handle.h"
#include "common/clock.h"

#include <stdio.h>

#define HELLO_TIMEOUT_MS 5000u
#define REFUSED_RETRY_MS 2000u

/* ---- Who it is ---- */

struct identity {
    struct sc_slice cluster;
    uint64_t shard;
    uint64_t clock_ms;
};

/* Reads the reply to x.hello: a map, whose other members are none of our business. */
static bool read_identity(struct sc_mp mp, struct identity *identity)
{
    uint32_t pairs = 0;
    if (!sc_mp_map(&mp, &pairs)) {
        return false;
    }
    for (; pairs > 0; pairs--) {
        struct sc_slice name;
        if (!sc_mp_str(&mp, &name)) {
            return false;
        }
        if (sc_slice_equal(name, sc_slice_str("cluster"))) {
            (void)sc_mp_bytes(&mp, &identity->cluster);
        } else if (sc_slice_equal(name, sc_slice_str("shard"))) {
            (void)sc_mp_uint(&mp, &identity->shard);
        } else if (sc_slice_equal(name, sc_slice_str("clock_ms"))) {
            (void)sc_mp_uint(&mp, &identity->clock_ms);
        } else {
            (void)sc_mp_skip(&mp, NULL);
        }
    }
    return !sc_mp_failed(&mp);
}

static bool is_the_one(const struct sc_member *member, const struct identity *identity)
{
    bool same = false;
    if (identity->cluster.size == SC_MSG_CLUSTER_SIZE / 2) {
        struct sc_buf text = {0};
        sc_msg_put_cluster(&text, identity->cluster.data);
        struct sc_mp mp = sc_mp(sc_buf_slice(&text));
        struct sc_slice cluster = {0};
        (void)sc_mp_str(&mp, &cluster);
        same = sc_slice_equal(cluster, sc_slice_str(member->direct->cluster));
        sc_buf_fini(&text);
    }
    return same && identity->shard == member->id && identity->clock_ms != 0;
}

static void said_hello(struct sc_errand *errand, const struct sc_msg_reply *reply)
{
    struct sc_member *member = errand->arg;
    struct identity identity = {0};
    if (member->state != SC_MEMBER_HELLO || !sc_peer_up(&member->peer)) {
        return; /* on_state tells the rest */
    }
    member->tried = true;
    if (reply != NULL && reply->status == SC_OK && read_identity(reply->result, &identity) &&
        is_the_one(member, &identity)) {
        member->state = SC_MEMBER_READY;
        member->peer.clock = (struct sc_lane_clock){
            .known = true, .ahead_ms = identity.clock_ms - member->hello_sent_ms};
        atomic_store(&member->peer.usable, member->wanted);
    } else {
        member->state = SC_MEMBER_REFUSED;
        member->retry_ms = sc_clock_mono_ms() + REFUSED_RETRY_MS;
    }
    sc_handle_check_opening(member->peer.handle);
}

static void say_hello(struct sc_member *member)
{
    if (!member->hello.under_way) {
        member->state = SC_MEMBER_HELLO;
        member->hello_sent_ms = sc_clock_mono_ms();
        sc_errand_send(&member->hello, &member->peer, SC_OP_X_HELLO, HELLO_TIMEOUT_MS);
    }
}

/* ---- The connection ---- */

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct sc_member *member = arg;
    (void)why;
    sc_peer_stir(&member->peer);
    if (state == SC_SP_UP) {
        say_hello(member);
    } else {
        atomic_store(&member->peer.usable, false);
        member->peer.clock.known = false;
        member->state = SC_MEMBER_DIALLING;
        sc_direct_lost(member->direct);
    }
}

static void on_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct sc_member *member = arg;
    sc_peer_reply(&member->peer, tag, status, body);
}

static void hang_up(struct sc_member *member)
{
    sc_peer_hang_up(&member->peer);
    member->peer.clock.known = false;
    member->state = SC_MEMBER_IDLE;
}

/* An address that cannot be used from here, a relative path for one, is no mistake: the coordinator
 * can use it. */
static void dial(struct sc_member *member)
{
    struct sc_sp_link_options options = {
        .url = member->url, .on_state = on_state, .on_reply = on_reply, .arg = member};
    if (sc_sp_dial_locked(member->peer.handle->hub, &options, &member->peer.link, NULL) == SC_OK) {
        member->state = SC_MEMBER_DIALLING;
    } else {
        member->tried = true;
    }
}

void sc_member_init(struct sc_member *member, struct sc_direct *direct, uint32_t id)
{
    *member = (struct sc_member){.direct = direct, .id = id};
    sc_peer_init(&member->peer, direct->handle);
    member->hello.done = said_hello;
    member->hello.arg = member;
}

void sc_member_fini(struct sc_member *member)
{
    sc_peer_fini(&member->peer);
    sc_errand_fini(&member->hello);
}

void sc_member_want(struct sc_member *member, const char *url, bool wanted)
{
    bool moved = strcmp(url, member->url) != 0;
    member->wanted = wanted;
    if (moved && member->peer.link != NULL) {
        hang_up(member);
    }
    if (moved) {
        (void)snprintf(member->url, sizeof member->url, "%s", url);
    }
    if (wanted && member->peer.link == NULL) {
        dial(member);
    }
    atomic_store(&member->peer.usable, wanted && member->state == SC_MEMBER_READY);
    sc_peer_stir(&member->peer);
}

void sc_member_tick(struct sc_member *member, uint64_t now_ms)
{
    struct sc_peer *peer = &member->peer;
    if (peer->link == NULL) {
        return;
    }
    member->tried = member->tried || *sc_peer_why(peer) != '\0';
    if (member->state == SC_MEMBER_REFUSED && now_ms >= member->retry_ms) {
        say_hello(member);
    }
    sc_peer_tick(peer, now_ms);
    if (!member->wanted && sc_sp_link_in_flight(peer->link) == 0) {
        hang_up(member);
    }
}
