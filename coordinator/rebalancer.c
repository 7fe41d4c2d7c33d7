#include "coordinator/rebalancer.h"

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/draft.h"
#include "coordinator/flows.h"
#include "coordinator/preview.h"
#include "coordinator/throttle.h"
#include "coordinator/wish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_MS 500u
#define RETRY_MAX_MS 30000u
#define PLAN_MS 1000u /* the plan is looked at again at least so often */
#define POLL_MS 5u /* whether the rate, which may be changed, allows a frame by now */

struct sc_rebalancer {
    struct sc_fleet *fleet; /* kept */
    struct sc_survey *survey;
    struct sc_flows_owner owner;
    struct sc_flows *flows;
    struct sc_throttle throttle;
    bool recording; /* a change of shards is on its way to the log */
    uint64_t plan_ms; /* not before */
    uint64_t retry_after_ms; /* the last back-off; 0: none since something worked */
    uint64_t retry_ms; /* until then no batch is begun, whatever changes */
    uint32_t slots_left; /* by the last plan */
    char trouble[SC_WHY_SIZE];
};

static const struct sc_cluster_steering *steering(const struct sc_rebalancer *rebalancer)
{
    return &rebalancer->fleet->cluster.steering;
}

/* What an operator asks for meanwhile stays as it is. */
static void record_balancing(struct sc_rebalancer *rebalancer)
{
    const struct sc_change change = {
        .kind = SC_CHANGE_STEERING, .steering = {.balancing = true}, .parts = SC_CHANGE_BALANCING};
    sc_fleet_record(rebalancer->fleet, &change, NULL, NULL);
}

/* ---- The rate ---- */

static bool may_copy(void *arg)
{
    struct sc_rebalancer *rebalancer = arg;
    uint64_t now_ms = sc_clock_mono_ms();
    uint64_t wait_ms =
        sc_throttle_wait(&rebalancer->throttle, steering(rebalancer)->bytes_per_second, now_ms);
    if (wait_ms > 0) {
        sc_sp_hub_set_timer(rebalancer->fleet->hub,
                            now_ms + (wait_ms < POLL_MS ? wait_ms : POLL_MS));
    }
    return wait_ms == 0;
}

static void copied(void *arg, uint64_t bytes, bool bulk)
{
    struct sc_rebalancer *rebalancer = arg;
    sc_throttle_copied(&rebalancer->throttle, steering(rebalancer)->bytes_per_second, bytes, bulk,
                       sc_clock_mono_ms());
}

static uint64_t expected_rate(const struct sc_rebalancer *rebalancer)
{
    return sc_throttle_expect(&rebalancer->throttle, steering(rebalancer)->bytes_per_second);
}

/* ---- When to plan ---- */

static void plan_soon(struct sc_rebalancer *rebalancer, uint64_t delay_ms)
{
    rebalancer->plan_ms = sc_clock_mono_ms() + delay_ms;
}

/* Something did not work: later and later it is tried again. */
static void back_off(struct sc_rebalancer *rebalancer, const char *why)
{
    uint64_t after = rebalancer->retry_after_ms;
    after = after == 0 ? RETRY_MIN_MS : 2 * after < RETRY_MAX_MS ? 2 * after : RETRY_MAX_MS;
    rebalancer->retry_after_ms = after;
    rebalancer->retry_ms = sc_clock_mono_ms() + after;
    sc_why(rebalancer->trouble, "%s", why);
    plan_soon(rebalancer, after);
}

/* There is a new reason to believe that it works. */
static void forget_failures(struct sc_rebalancer *rebalancer)
{
    rebalancer->retry_after_ms = rebalancer->retry_ms = 0;
}

static void on_ended(void *arg, enum sc_status status, const char *why)
{
    struct sc_rebalancer *rebalancer = arg;
    if (status == SC_OK) {
        forget_failures(rebalancer);
        rebalancer->trouble[0] = '\0';
        plan_soon(rebalancer, 0);
    } else if (status == SC_UNAVAILABLE) {
        plan_soon(rebalancer, RETRY_MIN_MS);
    } else {
        back_off(rebalancer, why);
    }
}

/* ---- The plan ---- */

static void on_shard_recorded(void *arg, enum sc_status status, const char *why)
{
    struct sc_rebalancer *rebalancer = arg;
    rebalancer->recording = false;
    if (status != SC_OK) {
        back_off(rebalancer, why);
    } else {
        plan_soon(rebalancer, 0);
    }
}

static void record_shard(struct sc_rebalancer *rebalancer, const struct sc_change *change)
{
    rebalancer->recording = true;
    sc_fleet_record(rebalancer->fleet, change, on_shard_recorded, rebalancer);
}

/* One shard that has all that it should, or nothing any more, and may be told so in the map. */
static void settle_shards(struct sc_rebalancer *rebalancer, const uint32_t after[SC_SLOT_COUNT])
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    for (size_t i = 0; i < cluster->shard_count && !rebalancer->recording; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        struct sc_change change = {.shard_id = shard->id, .state = SC_CLUSTER_UP};
        bool waits = sc_flows_has(rebalancer->flows, shard->id);
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT && !waits; slot++) {
            waits = after[slot] == shard->id && cluster->owner[slot] != shard->id;
        }
        if (waits) {
            continue;
        }
        if (shard->state == SC_CLUSTER_JOINING) {
            change.kind = SC_CHANGE_SHARD_STATE;
            record_shard(rebalancer, &change);
        } else if (shard->state == SC_CLUSTER_LEAVING && shard->slots == 0) {
            sc_log_info("shard %" PRIu32 " at %s has left the fleet", shard->id, shard->url);
            change.kind = SC_CHANGE_SHARD_REMOVED;
            record_shard(rebalancer, &change);
        }
    }
}

/* A coordinator that died between recording that a shard is joining, or leaving, and that slots are
 * to be balanced. */
static bool is_half_told(const struct sc_cluster *cluster)
{
    bool going = false;
    for (size_t i = 0; i < cluster->shard_count; i++) {
        going = going || cluster->shards[i].state != SC_CLUSTER_UP;
    }
    return going && !cluster->steering.balancing;
}

static void go_on(struct sc_rebalancer *rebalancer)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    if (is_half_told(cluster)) {
        record_balancing(rebalancer);
    }
    uint32_t *after = sc_calloc(SC_SLOT_COUNT, sizeof *after);
    plan_soon(rebalancer, PLAN_MS);
    sc_flows_give_up_useless(rebalancer->flows);
    rebalancer->slots_left = steering(rebalancer)->balancing ? sc_draft_plan(cluster, after) : 0;
    if (steering(rebalancer)->balancing && !rebalancer->recording) {
        bool may_begin =
            !steering(rebalancer)->paused && sc_clock_mono_ms() >= rebalancer->retry_ms;
        if (may_begin && rebalancer->slots_left > 0) {
            sc_flows_begin(rebalancer->flows, after);
        }
        settle_shards(rebalancer, after);
    }
    free(after);
}

/* ---- Telling ---- */

static const char *state_name(const struct sc_rebalancer *rebalancer)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    bool moving =
        rebalancer->slots_left > 0 || cluster->batch_count > 0 || sc_flows_any(rebalancer->flows);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        moving = moving || cluster->shards[i].state != SC_CLUSTER_UP;
    }
    return !moving ? "idle" : steering(rebalancer)->paused ? "paused" : "moving";
}

/* What is in the slots that are to move and has not been copied. Shards that have not told what
 * they have are asked, so that it is known the next time. */
static uint64_t bytes_left(struct sc_rebalancer *rebalancer, const uint32_t *after)
{
    const uint32_t *owner = rebalancer->fleet->cluster.owner;
    uint64_t bytes = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && rebalancer->slots_left > 0; slot++) {
        if (owner[slot] != after[slot]) {
            bytes += rebalancer->survey->bytes[slot];
            sc_survey_want(rebalancer->survey, slot);
        }
    }
    uint64_t done = sc_flows_bytes_done(rebalancer->flows);
    return bytes > done ? bytes - done : 0;
}

/* Why it does not get on: a shard that the plan needs is down, or what happened to the last batch;
 * "" if it does. */
static const char *trouble_of(const struct sc_rebalancer *rebalancer, const uint32_t *after)
{
    const struct sc_fleet *fleet = rebalancer->fleet;
    if (fleet->backend_count == 0) { /* they are closed already, as the fleet is just being */
        return rebalancer->trouble;
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && rebalancer->slots_left > 0; slot++) {
        uint32_t from = fleet->cluster.owner[slot];
        if (from == after[slot]) {
            continue;
        }
        struct sc_backend *source = sc_fleet_backend(fleet, from);
        struct sc_backend *target = sc_fleet_backend(fleet, after[slot]);
        if (!sc_backend_up(source) || !sc_backend_up(target)) {
            return sc_backend_why(sc_backend_up(source) ? target : source);
        }
    }
    return rebalancer->trouble;
}

static void tell(void *arg, const struct sc_sp_origin *origin)
{
    struct sc_rebalancer *rebalancer = arg;
    uint32_t *after = sc_calloc(SC_SLOT_COUNT, sizeof *after);
    rebalancer->slots_left =
        steering(rebalancer)->balancing ? sc_draft_plan(&rebalancer->fleet->cluster, after) : 0;
    uint64_t bytes = bytes_left(rebalancer, after);
    bool moves = strcmp(state_name(rebalancer), "moving") == 0;
    uint64_t now = moves ? sc_throttle_rate(&rebalancer->throttle, sc_clock_mono_ms()) : 0;
    uint64_t rate = expected_rate(rebalancer) > 0 ? expected_rate(rebalancer) : now;
    const char *trouble = trouble_of(rebalancer, after);
    free(after);
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 8);
    sc_mp_put_cstr(out, "state");
    sc_mp_put_cstr(out, state_name(rebalancer));
    sc_mp_put_member(out, "slots_left", rebalancer->slots_left);
    sc_mp_put_member(out, "bytes_left", bytes);
    sc_mp_put_member(out, "bytes_per_second", steering(rebalancer)->bytes_per_second);
    sc_mp_put_member(out, "rate", now);
    sc_mp_put_cstr(out, "seconds_left");
    if (rate > 0 && moves) {
        sc_mp_put_uint(out, sc_preview_seconds(rebalancer->slots_left, bytes, rate));
    } else {
        sc_mp_put_nil(out);
    }
    sc_mp_put_cstr(out, "trouble");
    sc_mp_put_cstr(out, trouble);
    sc_mp_put_cstr(out, "moves");
    sc_flows_put(rebalancer->flows, out);
    sc_sp_reply_end(origin);
}

void sc_rebalancer_preview(struct sc_rebalancer *rebalancer, const struct sc_change *change,
                           const struct sc_sp_origin *origin)
{
    sc_preview_answer(rebalancer->survey, change, expected_rate(rebalancer), origin);
}

/* ---- Steering ---- */

/* Shards that are joining or leaving stay as they are. */
static void cancel(struct sc_rebalancer *rebalancer)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    sc_flows_give_up(rebalancer->flows);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (cluster->shards[i].state != SC_CLUSTER_UP) {
            struct sc_change change = {.kind = SC_CHANGE_SHARD_STATE,
                                       .shard_id = cluster->shards[i].id,
                                       .state = SC_CLUSTER_UP};
            sc_fleet_record(rebalancer->fleet, &change, NULL, NULL);
        }
    }
}

void sc_rebalancer_steer(struct sc_rebalancer *rebalancer, const struct sc_msg_request *request,
                         const struct sc_sp_origin *origin)
{
    struct sc_change change = {.kind = SC_CHANGE_STEERING};
    bool changes = request->has_pause || request->cancel || request->has_rate;
    if (request->dry_run && changes) {
        sc_wish_answer(origin, SC_BADREQUEST,
                       "rebalance: dry_run changes nothing, and goes with no other option");
        return;
    }
    if (request->dry_run) {
        sc_rebalancer_preview(rebalancer, NULL, origin);
        return;
    }
    if (!changes) {
        tell(rebalancer, origin);
        return;
    }
    if (request->has_pause) {
        change.steering.paused = request->pause;
        change.steering.balancing = true;
        change.parts |= SC_CHANGE_PAUSED | (request->pause ? 0 : SC_CHANGE_BALANCING);
    }
    if (request->has_rate) {
        change.steering.bytes_per_second = request->bytes_per_second;
        change.parts |= SC_CHANGE_RATE;
    }
    if (request->cancel) {
        change.steering.balancing = change.steering.paused = false;
        change.parts |= SC_CHANGE_BALANCING | SC_CHANGE_PAUSED;
        cancel(rebalancer);
    }
    sc_wish_record(rebalancer->fleet, &change, origin, tell, rebalancer);
}

/* ---- Surroundings ---- */

/* Whether an operator may have asked for a change of this kind. */
static bool is_asked_for(enum sc_change_kind kind)
{
    return kind == SC_CHANGE_STEERING || kind == SC_CHANGE_SHARD_ADDED ||
           kind == SC_CHANGE_SHARD_STATE || kind == SC_CHANGE_SHARD_WEIGHT;
}

void sc_rebalancer_on_map(struct sc_rebalancer *rebalancer, const struct sc_change *change)
{
    if (change->kind == SC_CHANGE_SHARD_ADDED && !steering(rebalancer)->balancing) {
        record_balancing(rebalancer);
    }
    if (change->kind == SC_CHANGE_STEERING) {
        sc_flows_pause(rebalancer->flows, steering(rebalancer)->paused);
        if (!steering(rebalancer)->balancing) {
            sc_flows_give_up(rebalancer->flows); /* those too that were begun since it was asked */
        }
    }
    if (is_asked_for(change->kind)) {
        forget_failures(rebalancer);
    }
    plan_soon(rebalancer, 0);
}

void sc_rebalancer_poke(struct sc_rebalancer *rebalancer)
{
    sc_flows_poke(rebalancer->flows);
}

void sc_rebalancer_tick(struct sc_rebalancer *rebalancer)
{
    sc_rebalancer_poke(rebalancer);
    if (sc_clock_mono_ms() >= rebalancer->plan_ms) {
        go_on(rebalancer);
    }
}

void sc_rebalancer_on_change(struct sc_rebalancer *rebalancer, struct sc_backend *backend)
{
    sc_flows_on_change(rebalancer->flows, backend);
    if (sc_backend_up(backend)) {
        plan_soon(rebalancer, 0);
    } else {
        forget_failures(rebalancer); /* when it is back, it may do what it could not */
    }
}

bool sc_rebalancer_may_grant(const struct sc_rebalancer *rebalancer,
                             const struct sc_backend *backend)
{
    return sc_flows_may_grant(rebalancer->flows, backend);
}

bool sc_rebalancer_is_cutting_over(const struct sc_rebalancer *rebalancer)
{
    return sc_flows_are_cutting_over(rebalancer->flows);
}

struct sc_rebalancer *sc_rebalancer_alloc(struct sc_fleet *fleet)
{
    struct sc_rebalancer *rebalancer = sc_calloc(1, sizeof *rebalancer);
    rebalancer->fleet = fleet;
    sc_throttle_init(&rebalancer->throttle, sc_clock_mono_ms());
    rebalancer->survey = sc_survey_alloc(fleet);
    rebalancer->owner = (struct sc_flows_owner){may_copy, copied, on_ended, rebalancer};
    rebalancer->flows = sc_flows_alloc(fleet, rebalancer->survey, &rebalancer->owner);
    if (!steering(rebalancer)->balancing) {
        sc_flows_give_up(rebalancer->flows); /* cancelled before the last coordinator died */
    }
    return rebalancer;
}

void sc_rebalancer_free(struct sc_rebalancer *rebalancer)
{
    if (rebalancer == NULL) {
        return;
    }
    sc_flows_free(rebalancer->flows);
    sc_survey_free(rebalancer->survey);
    free(rebalancer);
}
