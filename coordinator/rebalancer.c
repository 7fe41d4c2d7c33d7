#include "coordinator/rebalancer.h"

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/mover.h"
#include "coordinator/planner.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define BATCH_SLOTS_MAX 256u
#define BATCH_BYTES_MAX (UINT64_C(1) << 30)
#define BATCH_KEYS_MAX UINT64_C(1000000) /* the source keeps some bytes for each meanwhile */
#define FLOWS_MAX 8u /* batches at a time */
#define RETRY_MIN_MS 500u
#define RETRY_MAX_MS 30000u
#define PLAN_MS 1000u /* the plan is looked at again at least so often */
#define BURST_MS 100u /* how much of the rate may be used at once */

/* One batch on its way from being planned to its end. */
struct flow {
    struct sc_rebalancer *rebalancer;
    uint32_t from, to;
    struct sc_slotset slots;
    uint32_t slot_count;
    uint64_t keys, bytes;
    uint64_t move; /* 0: not recorded yet */
    struct sc_mover *mover; /* NULL: not begun */
};

struct survey {
    struct sc_backend_call call; /* must be first */
    struct sc_rebalancer *rebalancer; /* NULL: nobody waits any more */
    struct flow *flow;
};

struct sc_rebalancer {
    struct sc_fleet *fleet; /* kept */
    struct sc_mover_owner owner;
    struct flow *flows[FLOWS_MAX];
    uint64_t surveys; /* on their way */
    bool freed;
    bool recording; /* a change of shards or of the steering is on its way to the log */
    uint64_t plan_ms; /* not before */
    uint64_t retry_after_ms;
    uint32_t slots_left; /* by the last plan */
    uint64_t bytes_of_slot[SC_SLOT_COUNT]; /* by the last survey of its owner */
    int64_t tokens; /* bytes that may be copied now; below 0: what was copied too much */
    uint64_t refilled_ms;
    char trouble[SC_WHY_SIZE];
};

static const struct sc_cluster_steering *steering(const struct sc_rebalancer *rebalancer)
{
    return &rebalancer->fleet->cluster.steering;
}

static void answer_status(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, (int)status, status == SC_OK ? NULL : why);
    sc_sp_reply_end(origin);
}

/* ---- The rate ---- */

static void refill(struct sc_rebalancer *rebalancer)
{
    uint64_t now_ms = sc_clock_mono_ms();
    uint64_t rate = steering(rebalancer)->bytes_per_second;
    uint64_t elapsed_ms = now_ms - rebalancer->refilled_ms;
    elapsed_ms = elapsed_ms < BURST_MS ? elapsed_ms : BURST_MS;
    uint64_t share = rate / 1000 < INT32_MAX ? rate / 1000 : INT32_MAX; /* of a millisecond */
    share += share == 0 ? 1 : 0;
    int64_t most = (int64_t)(share * BURST_MS);
    rebalancer->tokens += (int64_t)(share * elapsed_ms);
    rebalancer->tokens = rebalancer->tokens < most ? rebalancer->tokens : most;
    rebalancer->refilled_ms = now_ms;
}

/* A frame may be begun while there is anything left; what it takes too much is owed. */
static bool may_copy(void *arg)
{
    struct sc_rebalancer *rebalancer = arg;
    if (steering(rebalancer)->bytes_per_second == 0) {
        return true;
    }
    refill(rebalancer);
    if (rebalancer->tokens > 0) {
        return true;
    }
    sc_sp_hub_set_timer(rebalancer->fleet->hub, sc_clock_mono_ms() + 5);
    return false;
}

static void copied(void *arg, uint64_t bytes)
{
    struct sc_rebalancer *rebalancer = arg;
    if (steering(rebalancer)->bytes_per_second > 0) {
        rebalancer->tokens -= (int64_t)bytes;
    }
}

/* ---- Flows ---- */

static void plan_soon(struct sc_rebalancer *rebalancer, uint64_t delay_ms)
{
    rebalancer->plan_ms = sc_clock_mono_ms() + delay_ms;
}

static struct flow **flow_of(struct sc_rebalancer *rebalancer, const struct flow *flow)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] == flow) {
            return &rebalancer->flows[i];
        }
    }
    return NULL;
}

static void end_flow(struct sc_rebalancer *rebalancer, struct flow *flow)
{
    *flow_of(rebalancer, flow) = NULL;
    free(flow);
}

/* Whether a shard takes part in a flow already. */
static bool is_engaged(const struct sc_rebalancer *rebalancer, uint32_t shard_id)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = rebalancer->flows[i];
        if (flow != NULL && (flow->from == shard_id || flow->to == shard_id)) {
            return true;
        }
    }
    return sc_cluster_in_batch(&rebalancer->fleet->cluster, shard_id);
}

/* Something did not work: later and later it is tried again. */
static void back_off(struct sc_rebalancer *rebalancer, const char *why)
{
    uint64_t after = rebalancer->retry_after_ms;
    after = after == 0 ? RETRY_MIN_MS : 2 * after < RETRY_MAX_MS ? 2 * after : RETRY_MAX_MS;
    rebalancer->retry_after_ms = after;
    sc_why(rebalancer->trouble, "%s", why);
    plan_soon(rebalancer, after);
}

static struct flow *flow_of_move(struct sc_rebalancer *rebalancer, uint64_t move)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL && rebalancer->flows[i]->move == move) {
            return rebalancer->flows[i];
        }
    }
    return NULL;
}

static void on_moved(void *arg, uint64_t move, enum sc_status status, const char *why)
{
    struct sc_rebalancer *rebalancer = arg;
    struct flow *flow = flow_of_move(rebalancer, move);
    assert(flow != NULL);
    if (status == SC_OK) {
        sc_log_info("%" PRIu32 " slots have moved from shard %" PRIu32 " to shard %" PRIu32,
                    flow->slot_count, flow->from, flow->to);
        rebalancer->retry_after_ms = 0;
        rebalancer->trouble[0] = '\0';
        plan_soon(rebalancer, 0);
    } else if (status == SC_UNAVAILABLE) {
        plan_soon(rebalancer, RETRY_MIN_MS);
    } else {
        sc_log_error("slots could not be moved from shard %" PRIu32 " to shard %" PRIu32 ": %s",
                     flow->from, flow->to, why);
        back_off(rebalancer, why);
    }
    end_flow(rebalancer, flow);
}

static void begin_mover(struct flow *flow)
{
    struct sc_rebalancer *rebalancer = flow->rebalancer;
    struct sc_mover *mover =
        sc_mover_start(&rebalancer->owner, flow->move, flow->keys, flow->bytes);
    flow->mover = mover;
    sc_mover_pause(mover, steering(rebalancer)->paused);
}

static void on_batch(void *arg, enum sc_status status, const char *why)
{
    struct flow *flow = arg;
    if (status == SC_OK) {
        begin_mover(flow);
        return;
    }
    back_off(flow->rebalancer, why);
    end_flow(flow->rebalancer, flow);
}

static void record_batch(struct flow *flow)
{
    struct sc_fleet *fleet = flow->rebalancer->fleet;
    struct sc_change change = {.kind = SC_CHANGE_BATCH,
                               .move = fleet->cluster.next_move,
                               .from = flow->from,
                               .to = flow->to,
                               .slots = flow->slots};
    flow->move = change.move;
    sc_fleet_record(fleet, &change, on_batch, flow);
}

/* ---- Surveys ---- */

/* Leaves as many slots in the flow as make up a batch. */
static void trim(struct flow *flow, const uint64_t keys[SC_SLOT_COUNT],
                 const uint64_t bytes[SC_SLOT_COUNT])
{
    struct sc_slotset all = flow->slots;
    flow->slots = (struct sc_slotset){{0}};
    flow->slot_count = 0;
    flow->keys = flow->bytes = 0;
    SC_SLOTSET_EACH (slot, &all) {
        bool full = flow->slot_count == BATCH_SLOTS_MAX ||
                    flow->bytes + bytes[slot] > BATCH_BYTES_MAX ||
                    flow->keys + keys[slot] > BATCH_KEYS_MAX;
        if (flow->slot_count > 0 && full) {
            break;
        }
        sc_slotset_add(&flow->slots, slot);
        flow->slot_count++;
        flow->keys += keys[slot];
        flow->bytes += bytes[slot];
    }
}

static bool read_survey(struct sc_rebalancer *rebalancer, struct sc_slice body,
                        uint64_t keys[SC_SLOT_COUNT])
{
    struct sc_msg_reply reply;
    struct sc_msg_slots part;
    uint32_t count = 0;
    if (!sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
        !sc_msg_read_slots(&reply, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!sc_msg_next_slots(&reply, &part)) {
            return false;
        }
        uint32_t slots = part.last - part.first + 1;
        for (uint32_t slot = part.first; slot <= part.last; slot++) {
            keys[slot] = part.keys / slots;
            rebalancer->bytes_of_slot[slot] = part.bytes / slots;
        }
    }
    return true;
}

static void on_survey(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct survey *survey = (struct survey *)call;
    struct sc_rebalancer *rebalancer = survey->rebalancer;
    struct flow *flow = survey->flow;
    free(survey);
    rebalancer->surveys--;
    if (rebalancer->freed) {
        if (rebalancer->surveys == 0) {
            free(rebalancer);
        }
        return;
    }
    uint64_t *keys = sc_calloc(SC_SLOT_COUNT, sizeof *keys);
    if (status == SC_OK && read_survey(rebalancer, body, keys) &&
        sc_cluster_owns(&rebalancer->fleet->cluster, flow->from, &flow->slots)) {
        trim(flow, keys, rebalancer->bytes_of_slot);
        record_batch(flow);
    } else {
        back_off(rebalancer, "a shard did not tell what it has");
        end_flow(rebalancer, flow);
    }
    free(keys);
}

static void begin_survey(struct flow *flow)
{
    struct sc_rebalancer *rebalancer = flow->rebalancer;
    struct survey *survey = sc_calloc(1, sizeof *survey);
    struct sc_buf request = {0};
    *survey = (struct survey){{on_survey}, rebalancer, flow};
    rebalancer->surveys++;
    sc_msg_put_op(&request, SC_OP_X_SLOTS, 0);
    sc_backend_call(sc_fleet_backend(rebalancer->fleet, flow->from), &survey->call,
                    sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void record_steering(struct sc_rebalancer *rebalancer, struct sc_cluster_steering to);

/* ---- The plan ---- */

static struct sc_planner_shard *planner_shards(const struct sc_cluster *cluster)
{
    struct sc_planner_shard *shards = sc_calloc(cluster->shard_count, sizeof *shards);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        shards[i] = (struct sc_planner_shard){.id = shard->id,
                                              .weight = shard->weight,
                                              .leaving = shard->state == SC_CLUSTER_LEAVING};
    }
    return shards;
}

/* Who should own each slot; how many slots would change. */
static uint32_t plan(const struct sc_cluster *cluster, uint32_t after[SC_SLOT_COUNT])
{
    struct sc_planner_shard *shards = planner_shards(cluster);
    sc_planner_quotas(shards, cluster->shard_count, cluster->owner);
    uint32_t moves = sc_planner_moves(shards, cluster->shard_count, cluster->owner, after);
    free(shards);
    return moves;
}

static struct flow **free_flow(struct sc_rebalancer *rebalancer)
{
    return flow_of(rebalancer, NULL);
}

static bool may_engage(const struct sc_rebalancer *rebalancer, uint32_t shard_id)
{
    const struct sc_backend *backend = sc_fleet_backend(rebalancer->fleet, shard_id);
    return backend != NULL && sc_backend_up(backend) && !is_engaged(rebalancer, shard_id);
}

/* Begins batches for all pairs of shards that are free. */
static void begin_flows(struct sc_rebalancer *rebalancer, const uint32_t after[SC_SLOT_COUNT])
{
    const uint32_t *owner = rebalancer->fleet->cluster.owner;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        struct flow **place = free_flow(rebalancer);
        if (owner[slot] == after[slot] || place == NULL || !may_engage(rebalancer, owner[slot]) ||
            !may_engage(rebalancer, after[slot])) {
            continue;
        }
        struct flow *flow = sc_calloc(1, sizeof *flow);
        *flow = (struct flow){.rebalancer = rebalancer, .from = owner[slot], .to = after[slot]};
        for (uint32_t other = slot; other < SC_SLOT_COUNT; other++) {
            if (owner[other] == flow->from && after[other] == flow->to) {
                sc_slotset_add(&flow->slots, other);
            }
        }
        *place = flow;
        begin_survey(flow);
    }
}

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
        bool waits = is_engaged(rebalancer, shard->id);
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
        struct sc_cluster_steering to = cluster->steering;
        to.balancing = true;
        record_steering(rebalancer, to);
    }
    uint32_t *after = sc_calloc(SC_SLOT_COUNT, sizeof *after);
    plan_soon(rebalancer, PLAN_MS);
    rebalancer->slots_left = steering(rebalancer)->balancing ? plan(cluster, after) : 0;
    if (steering(rebalancer)->balancing && !rebalancer->recording) {
        if (!steering(rebalancer)->paused && rebalancer->slots_left > 0) {
            begin_flows(rebalancer, after);
        }
        settle_shards(rebalancer, after);
    }
    free(after);
}

/* ---- Steering ---- */

struct wish {
    struct sc_rebalancer *rebalancer;
    struct sc_sp_origin origin;
    bool tells; /* the answer is the state of the moves */
};

static void tell(struct sc_rebalancer *rebalancer, const struct sc_sp_origin *origin);

static void on_wish(void *arg, enum sc_status status, const char *why)
{
    struct wish *wish = arg;
    struct sc_rebalancer *rebalancer = wish->rebalancer;
    if (status == SC_OK) {
        plan_soon(rebalancer, 0);
    }
    if (status == SC_OK && wish->tells) {
        tell(rebalancer, &wish->origin);
    } else if (status == SC_INTERNAL) {
        answer_status(&wish->origin, SC_BUSY, "the map has just been changed: try again");
    } else {
        answer_status(&wish->origin, status, why);
    }
    free(wish);
}

static struct wish *make_wish(struct sc_rebalancer *rebalancer, const struct sc_sp_origin *origin,
                              bool tells)
{
    struct wish *wish = sc_calloc(1, sizeof *wish);
    *wish = (struct wish){rebalancer, *origin, tells};
    return wish;
}

static void record_steering(struct sc_rebalancer *rebalancer, struct sc_cluster_steering to)
{
    struct sc_change change = {.kind = SC_CHANGE_STEERING, .steering = to};
    sc_fleet_record(rebalancer->fleet, &change, NULL, NULL);
}

static enum sc_status check_remove(const struct sc_rebalancer *rebalancer, uint64_t shard_id,
                                   char *why)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    const struct sc_cluster_shard *shard =
        shard_id <= UINT32_MAX ? sc_cluster_shard(cluster, (uint32_t)shard_id) : NULL;
    if (shard == NULL) {
        return sc_fail(why, SC_NOTFOUND, "there is no shard %" PRIu64, shard_id);
    }
    uint64_t disk = 0;
    uint64_t memory = 0;
    bool limited = true;
    size_t others = 0;
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_backend *backend = rebalancer->fleet->backends[i];
        if (cluster->shards[i].id == shard->id || cluster->shards[i].state == SC_CLUSTER_LEAVING) {
            continue;
        }
        const struct sc_introduction_hello *hello = sc_backend_hello(backend);
        others++;
        disk += hello->disk_free;
        limited = limited && hello->memory_max > 0;
        memory += hello->memory_max > hello->memory ? hello->memory_max - hello->memory : 0;
    }
    const struct sc_introduction_hello *own =
        sc_backend_hello(sc_fleet_backend(rebalancer->fleet, shard->id));
    if (others == 0) {
        return sc_fail(why, SC_BADREQUEST, "shard %" PRIu64 " is the last one", shard_id);
    }
    if (disk > 0 && own->bytes + own->bytes / 5 > disk) {
        return sc_fail(why, SC_IO,
                       "the other shards have %" PRIu64 " MiB of disk left, and shard %" PRIu64
                       " has %" PRIu64 " MiB",
                       disk >> 20, shard_id, own->bytes >> 20);
    }
    if (limited && own->memory > memory) {
        return sc_fail(why, SC_BUSY,
                       "the other shards may use %" PRIu64
                       " MiB of memory more (--max-memory), and "
                       "the keys of shard %" PRIu64 " take %" PRIu64 " MiB",
                       memory >> 20, shard_id, own->memory >> 20);
    }
    return SC_OK;
}

void sc_rebalancer_remove(struct sc_rebalancer *rebalancer, uint64_t shard_id,
                          const struct sc_sp_origin *origin)
{
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = check_remove(rebalancer, shard_id, why);
    if (status != SC_OK) {
        answer_status(origin, status, why);
        return;
    }
    struct sc_change change = {
        .kind = SC_CHANGE_SHARD_STATE, .shard_id = (uint32_t)shard_id, .state = SC_CLUSTER_LEAVING};
    if (!steering(rebalancer)->balancing) {
        struct sc_cluster_steering to = *steering(rebalancer);
        to.balancing = true;
        record_steering(rebalancer, to);
    }
    sc_log_info("shard %" PRIu64 " is to leave the fleet", shard_id);
    sc_fleet_record(rebalancer->fleet, &change, on_wish, make_wish(rebalancer, origin, false));
}

/* Shards that are joining or leaving stay as they are. */
static void cancel(struct sc_rebalancer *rebalancer)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL && rebalancer->flows[i]->mover != NULL) {
            sc_mover_give_up(rebalancer->flows[i]->mover);
        }
    }
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
    struct sc_cluster_steering to = *steering(rebalancer);
    if (!request->has_pause && !request->cancel && !request->has_rate) {
        tell(rebalancer, origin);
        return;
    }
    if (request->has_pause) {
        to.paused = request->pause;
        to.balancing = to.balancing || !request->pause;
    }
    if (request->has_rate) {
        to.bytes_per_second = request->bytes_per_second;
    }
    if (request->cancel) {
        to.balancing = false;
        cancel(rebalancer);
    }
    struct sc_change change = {.kind = SC_CHANGE_STEERING, .steering = to};
    sc_fleet_record(rebalancer->fleet, &change, on_wish, make_wish(rebalancer, origin, true));
}

/* ---- Telling ---- */

static const char *state_name(const struct sc_rebalancer *rebalancer)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    bool moving = rebalancer->slots_left > 0 || cluster->batch_count > 0;
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        moving = moving || rebalancer->flows[i] != NULL;
    }
    for (size_t i = 0; i < cluster->shard_count; i++) {
        moving = moving || cluster->shards[i].state != SC_CLUSTER_UP;
    }
    return !moving ? "idle" : steering(rebalancer)->paused ? "paused" : "moving";
}

static void put_move(const struct flow *flow, struct sc_buf *out)
{
    struct sc_mover_figures figures = {.bytes = flow->bytes, .stage = "planned", .trouble = ""};
    if (flow->mover != NULL) {
        sc_mover_figures(flow->mover, &figures);
    }
    sc_mp_put_map(out, 9);
    sc_mp_put_cstr(out, "from");
    sc_mp_put_uint(out, flow->from);
    sc_mp_put_cstr(out, "to");
    sc_mp_put_uint(out, flow->to);
    sc_mp_put_cstr(out, "slots");
    sc_mp_put_uint(out, flow->slot_count);
    sc_mp_put_cstr(out, "bytes_done");
    sc_mp_put_uint(out, figures.bytes_done);
    sc_mp_put_cstr(out, "bytes");
    sc_mp_put_uint(out, figures.bytes);
    sc_mp_put_cstr(out, "stage");
    sc_mp_put_cstr(out, figures.stage);
    sc_mp_put_cstr(out, "attempts");
    sc_mp_put_uint(out, figures.attempts);
    sc_mp_put_cstr(out, "pause_us");
    sc_mp_put_uint(out, figures.pause_us);
    sc_mp_put_cstr(out, "trouble");
    sc_mp_put_cstr(out, figures.trouble);
}

static void tell(struct sc_rebalancer *rebalancer, const struct sc_sp_origin *origin)
{
    const struct sc_cluster *cluster = &rebalancer->fleet->cluster;
    uint32_t *after = sc_calloc(SC_SLOT_COUNT, sizeof *after);
    uint64_t bytes_left = 0;
    rebalancer->slots_left = steering(rebalancer)->balancing ? plan(cluster, after) : 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && rebalancer->slots_left > 0; slot++) {
        bytes_left += cluster->owner[slot] != after[slot] ? rebalancer->bytes_of_slot[slot] : 0;
    }
    free(after);
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 6);
    sc_mp_put_cstr(out, "state");
    sc_mp_put_cstr(out, state_name(rebalancer));
    sc_mp_put_cstr(out, "slots_left");
    sc_mp_put_uint(out, rebalancer->slots_left);
    sc_mp_put_cstr(out, "bytes_left");
    sc_mp_put_uint(out, bytes_left);
    sc_mp_put_cstr(out, "bytes_per_second");
    sc_mp_put_uint(out, steering(rebalancer)->bytes_per_second);
    sc_mp_put_cstr(out, "trouble");
    sc_mp_put_cstr(out, rebalancer->trouble);
    sc_mp_put_cstr(out, "moves");
    size_t offset = sc_mp_open_array(out);
    uint32_t moves = 0;
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL) {
            put_move(rebalancer->flows[i], out);
            moves++;
        }
    }
    sc_mp_close_array(out, offset, moves);
    sc_sp_reply_end(origin);
}

/* ---- Surroundings ---- */

void sc_rebalancer_on_map(struct sc_rebalancer *rebalancer, const struct sc_change *change)
{
    if (change->kind == SC_CHANGE_SHARD_ADDED && !steering(rebalancer)->balancing) {
        struct sc_cluster_steering to = *steering(rebalancer);
        to.balancing = true;
        record_steering(rebalancer, to);
    }
    if (change->kind == SC_CHANGE_STEERING) {
        for (size_t i = 0; i < FLOWS_MAX; i++) {
            if (rebalancer->flows[i] != NULL && rebalancer->flows[i]->mover != NULL) {
                sc_mover_pause(rebalancer->flows[i]->mover, change->steering.paused);
            }
        }
    }
    plan_soon(rebalancer, 0);
}

void sc_rebalancer_poke(struct sc_rebalancer *rebalancer)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL && rebalancer->flows[i]->mover != NULL) {
            sc_mover_poke(rebalancer->flows[i]->mover);
        }
    }
}

void sc_rebalancer_tick(struct sc_rebalancer *rebalancer)
{
    sc_rebalancer_poke(rebalancer);
    if (sc_clock_mono_ms() >= rebalancer->plan_ms) {
        go_on(rebalancer);
    }
}

/* Nobody waits for the answer: a shard that is lost meanwhile is told again when it comes back. */
static void on_told(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    (void)status;
    (void)body;
    free(call);
}

/* A shard that has come back may still take part in a move that has ended meanwhile: as long as it
 * thinks so it does not merge. */
static void forget_move(struct sc_rebalancer *rebalancer, struct sc_backend *backend, uint64_t move,
                        enum sc_op op)
{
    if (move == 0 || sc_cluster_batch(&rebalancer->fleet->cluster, move) != NULL) {
        return;
    }
    struct sc_buf request = {0};
    if (op == SC_OP_X_DROP) {
        sc_msg_put_drop(&request, move);
    } else {
        sc_msg_put_release(&request, move);
    }
    struct sc_backend_call *call = sc_calloc(1, sizeof *call);
    call->done = on_told;
    sc_backend_call(backend, call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

void sc_rebalancer_on_change(struct sc_rebalancer *rebalancer, struct sc_backend *backend)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL && rebalancer->flows[i]->mover != NULL) {
            sc_mover_on_change(rebalancer->flows[i]->mover, backend);
        }
    }
    if (sc_backend_up(backend)) {
        const struct sc_introduction_hello *hello = sc_backend_hello(backend);
        forget_move(rebalancer, backend, hello->importing, SC_OP_X_DROP);
        forget_move(rebalancer, backend, hello->exporting, SC_OP_X_RELEASE);
        plan_soon(rebalancer, 0);
    }
}

bool sc_rebalancer_may_grant(const struct sc_rebalancer *rebalancer,
                             const struct sc_backend *backend)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = rebalancer->flows[i];
        if (flow != NULL && flow->mover != NULL && !sc_mover_may_grant(flow->mover, backend)) {
            return false;
        }
    }
    return true;
}

bool sc_rebalancer_is_cutting_over(const struct sc_rebalancer *rebalancer)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = rebalancer->flows[i];
        if (flow != NULL && flow->mover != NULL && sc_mover_is_cutting_over(flow->mover)) {
            return true;
        }
    }
    return false;
}

struct sc_rebalancer *sc_rebalancer_alloc(struct sc_fleet *fleet)
{
    struct sc_rebalancer *rebalancer = sc_calloc(1, sizeof *rebalancer);
    rebalancer->fleet = fleet;
    rebalancer->refilled_ms = sc_clock_mono_ms();
    rebalancer->owner = (struct sc_mover_owner){fleet, may_copy, copied, on_moved, rebalancer};
    for (size_t i = 0; i < fleet->cluster.batch_count; i++) {
        const struct sc_cluster_batch *batch = &fleet->cluster.batches[i];
        struct flow **place = free_flow(rebalancer);
        assert(place != NULL); /* no more were ever begun */
        struct flow *flow = sc_calloc(1, sizeof *flow);
        *flow = (struct flow){.rebalancer = rebalancer,
                              .from = batch->from,
                              .to = batch->to,
                              .slots = batch->slots,
                              .slot_count = sc_slotset_count(&batch->slots),
                              .move = batch->move};
        *place = flow;
        begin_mover(flow);
    }
    return rebalancer;
}

void sc_rebalancer_free(struct sc_rebalancer *rebalancer)
{
    if (rebalancer == NULL) {
        return;
    }
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (rebalancer->flows[i] != NULL) {
            sc_mover_free(rebalancer->flows[i]->mover);
            free(rebalancer->flows[i]);
        }
    }
    rebalancer->freed = true;
    if (rebalancer->surveys == 0) {
        free(rebalancer);
    }
}
