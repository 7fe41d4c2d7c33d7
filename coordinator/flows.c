#include "coordinator/flows.h"

#include "common/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define BATCH_SLOTS_MAX 256u
#define BATCH_BYTES_MAX (UINT64_C(1) << 30)
#define BATCH_KEYS_MAX UINT64_C(1000000) /* the source keeps some bytes for each meanwhile */
#define FLOWS_MAX 8u /* batches at a time */

struct flow {
    struct sc_flows *flows;
    uint32_t from, to;
    struct sc_slotset slots;
    uint32_t slot_count;
    uint64_t keys, bytes;
    uint64_t move; /* 0: not recorded yet */
    struct sc_mover *mover; /* NULL: not begun */
};

struct sc_flows {
    struct sc_fleet *fleet; /* kept, like the next two */
    struct sc_survey *survey;
    const struct sc_flows_owner *owner;
    struct sc_mover_owner mover_owner;
    struct flow *flows[FLOWS_MAX];
};

/* The next mover that is at work, from index *at on; NULL: there is none any more. */
static struct sc_mover *next_mover(const struct sc_flows *flows, size_t *at)
{
    while (*at < FLOWS_MAX) {
        const struct flow *flow = flows->flows[(*at)++];
        if (flow != NULL && flow->mover != NULL) {
            return flow->mover;
        }
    }
    return NULL;
}

static struct flow **place_of(struct sc_flows *flows, const struct flow *flow)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (flows->flows[i] == flow) {
            return &flows->flows[i];
        }
    }
    return NULL;
}

static struct flow *flow_of_move(struct sc_flows *flows, uint64_t move)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (flows->flows[i] != NULL && flows->flows[i]->move == move) {
            return flows->flows[i];
        }
    }
    return NULL;
}

static void end_flow(struct flow *flow, enum sc_status status, const char *why)
{
    struct sc_flows *flows = flow->flows;
    *place_of(flows, flow) = NULL;
    free(flow);
    flows->owner->ended(flows->owner->arg, status, why);
}

static void on_moved(void *arg, uint64_t move, enum sc_status status, const char *why)
{
    struct flow *flow = flow_of_move(arg, move);
    assert(flow != NULL);
    if (status == SC_OK) {
        sc_log_info("%" PRIu32 " slots have moved from shard %" PRIu32 " to shard %" PRIu32,
                    flow->slot_count, flow->from, flow->to);
    } else if (status != SC_UNAVAILABLE) {
        sc_log_error("slots could not be moved from shard %" PRIu32 " to shard %" PRIu32 ": %s",
                     flow->from, flow->to, why);
    }
    end_flow(flow, status, why);
}

static bool may_copy(void *arg)
{
    const struct sc_flows *flows = arg;
    return flows->owner->may_copy(flows->owner->arg);
}

static void copied(void *arg, uint64_t bytes, bool bulk)
{
    const struct sc_flows *flows = arg;
    flows->owner->copied(flows->owner->arg, bytes, bulk);
}

static void begin_mover(struct flow *flow)
{
    struct sc_flows *flows = flow->flows;
    flow->mover = sc_mover_start(&flows->mover_owner, flow->move, flow->keys, flow->bytes);
    sc_mover_pause(flow->mover, flows->fleet->cluster.steering.paused);
}

/* ---- From the plan to the map log ---- */

/* The number of the batch that was recorded: a shard has one at most. */
static uint64_t move_of(const struct sc_cluster *cluster, const struct flow *flow)
{
    for (size_t i = 0; i < cluster->batch_count; i++) {
        if (cluster->batches[i].from == flow->from && cluster->batches[i].to == flow->to) {
            return cluster->batches[i].move;
        }
    }
    assert(false);
    return 0;
}

static void on_batch(void *arg, enum sc_status status, const char *why)
{
    struct flow *flow = arg;
    if (status == SC_OK) {
        flow->move = move_of(&flow->flows->fleet->cluster, flow);
        begin_mover(flow);
        if (!flow->flows->fleet->cluster.steering.balancing) {
            sc_mover_give_up(flow->mover); /* cancelled while the batch was being recorded */
        }
    } else {
        end_flow(flow, status, why);
    }
}

static void record_batch(struct flow *flow)
{
    struct sc_fleet *fleet = flow->flows->fleet;
    struct sc_change change = {
        .kind = SC_CHANGE_BATCH, .from = flow->from, .to = flow->to, .slots = flow->slots};
    sc_fleet_record(fleet, &change, on_batch, flow);
}

/* Leaves as many slots in the flow as make up a batch. */
static void trim(struct flow *flow)
{
    const struct sc_survey *survey = flow->flows->survey;
    struct sc_slotset all = flow->slots;
    flow->slots = (struct sc_slotset){{0}};
    flow->slot_count = 0;
    flow->keys = flow->bytes = 0;
    SC_SLOTSET_EACH (slot, &all) {
        bool full = flow->slot_count == BATCH_SLOTS_MAX ||
                    flow->bytes + survey->bytes[slot] > BATCH_BYTES_MAX ||
                    flow->keys + survey->keys[slot] > BATCH_KEYS_MAX;
        if (flow->slot_count > 0 && full) {
            break;
        }
        sc_slotset_add(&flow->slots, slot);
        flow->slot_count++;
        flow->keys += survey->keys[slot];
        flow->bytes += survey->bytes[slot];
    }
}

static void on_survey(void *arg, bool told)
{
    struct flow *flow = arg;
    if (told && sc_cluster_owns(&flow->flows->fleet->cluster, flow->from, &flow->slots)) {
        trim(flow);
        record_batch(flow);
    } else {
        end_flow(flow, SC_UNKNOWN, "a shard did not tell what it has");
    }
}

static bool may_engage(const struct sc_flows *flows, uint32_t shard_id)
{
    const struct sc_backend *backend = sc_fleet_backend(flows->fleet, shard_id);
    return backend != NULL && sc_backend_up(backend) && !sc_flows_has(flows, shard_id);
}

void sc_flows_begin(struct sc_flows *flows, const uint32_t after[SC_SLOT_COUNT])
{
    const uint32_t *owner = flows->fleet->cluster.owner;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        struct flow **place = place_of(flows, NULL);
        if (owner[slot] == after[slot] || place == NULL || !may_engage(flows, owner[slot]) ||
            !may_engage(flows, after[slot])) {
            continue;
        }
        struct flow *flow = sc_calloc(1, sizeof *flow);
        *flow = (struct flow){.flows = flows, .from = owner[slot], .to = after[slot]};
        for (uint32_t other = slot; other < SC_SLOT_COUNT; other++) {
            if (owner[other] == flow->from && after[other] == flow->to) {
                sc_slotset_add(&flow->slots, other);
            }
        }
        *place = flow;
        sc_survey_ask(flows->survey, flow->from, on_survey, flow);
    }
}

/* ---- All of them ---- */

bool sc_flows_any(const struct sc_flows *flows)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (flows->flows[i] != NULL) {
            return true;
        }
    }
    return false;
}

bool sc_flows_has(const struct sc_flows *flows, uint32_t shard_id)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = flows->flows[i];
        if (flow != NULL && (flow->from == shard_id || flow->to == shard_id)) {
            return true;
        }
    }
    return sc_cluster_in_batch(&flows->fleet->cluster, shard_id);
}

void sc_flows_give_up(struct sc_flows *flows)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        sc_mover_give_up(mover);
    }
}

void sc_flows_give_up_useless(struct sc_flows *flows)
{
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = flows->flows[i];
        if (flow != NULL && flow->mover != NULL &&
            sc_cluster_shard(&flows->fleet->cluster, flow->to)->state == SC_CLUSTER_LEAVING) {
            sc_mover_give_up(flow->mover);
        }
    }
}

void sc_flows_pause(struct sc_flows *flows, bool paused)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        sc_mover_pause(mover, paused);
    }
}

void sc_flows_poke(struct sc_flows *flows)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        sc_mover_poke(mover);
    }
}

void sc_flows_on_change(struct sc_flows *flows, struct sc_backend *backend)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        sc_mover_on_change(mover, backend);
    }
}

bool sc_flows_may_grant(const struct sc_flows *flows, const struct sc_backend *backend)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        if (!sc_mover_may_grant(mover, backend)) {
            return false;
        }
    }
    return true;
}

bool sc_flows_are_cutting_over(const struct sc_flows *flows)
{
    struct sc_mover *mover;
    for (size_t at = 0; (mover = next_mover(flows, &at)) != NULL;) {
        if (sc_mover_is_cutting_over(mover)) {
            return true;
        }
    }
    return false;
}

uint64_t sc_flows_bytes_done(const struct sc_flows *flows)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        const struct flow *flow = flows->flows[i];
        if (flow != NULL && flow->mover != NULL &&
            sc_cluster_owns(&flows->fleet->cluster, flow->from, &flow->slots)) {
            struct sc_mover_figures figures;
            sc_mover_figures(flow->mover, &figures);
            sum += figures.bytes_done < figures.bytes ? figures.bytes_done : figures.bytes;
        }
    }
    return sum;
}

static void put_flow(const struct flow *flow, struct sc_buf *out)
{
    struct sc_mover_figures figures = {.bytes = flow->bytes, .stage = "planned", .trouble = ""};
    if (flow->mover != NULL) {
        sc_mover_figures(flow->mover, &figures);
    }
    const char *trouble = figures.trouble;
    struct sc_backend *from = sc_fleet_backend(flow->flows->fleet, flow->from);
    struct sc_backend *to = sc_fleet_backend(flow->flows->fleet, flow->to);
    if (from != NULL && !sc_backend_up(from)) {
        trouble = sc_backend_why(from);
    } else if (to != NULL && !sc_backend_up(to)) {
        trouble = sc_backend_why(to);
    }
    sc_mp_put_map(out, 9);
    sc_mp_put_member(out, "from", flow->from);
    sc_mp_put_member(out, "to", flow->to);
    sc_mp_put_member(out, "slots", flow->slot_count);
    sc_mp_put_member(out, "bytes_done", figures.bytes_done);
    sc_mp_put_member(out, "bytes", figures.bytes);
    sc_mp_put_cstr(out, "stage");
    sc_mp_put_cstr(out, figures.stage);
    sc_mp_put_member(out, "attempts", figures.attempts);
    sc_mp_put_member(out, "pause_us", figures.pause_us);
    sc_mp_put_cstr(out, "trouble");
    sc_mp_put_cstr(out, trouble);
}

void sc_flows_put(const struct sc_flows *flows, struct sc_buf *out)
{
    size_t offset = sc_mp_open_array(out);
    uint32_t count = 0;
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (flows->flows[i] != NULL) {
            put_flow(flows->flows[i], out);
            count++;
        }
    }
    sc_mp_close_array(out, offset, count);
}

/* ---- Beginning and end ---- */

struct sc_flows *sc_flows_alloc(struct sc_fleet *fleet, struct sc_survey *survey,
                                const struct sc_flows_owner *owner)
{
    struct sc_flows *flows = sc_calloc(1, sizeof *flows);
    *flows = (struct sc_flows){.fleet = fleet, .survey = survey, .owner = owner};
    flows->mover_owner = (struct sc_mover_owner){fleet, may_copy, copied, on_moved, flows};
    for (size_t i = 0; i < fleet->cluster.batch_count; i++) {
        const struct sc_cluster_batch *batch = &fleet->cluster.batches[i];
        struct flow **place = place_of(flows, NULL);
        assert(place != NULL); /* no more were ever begun */
        struct flow *flow = sc_calloc(1, sizeof *flow);
        *flow = (struct flow){.flows = flows,
                              .from = batch->from,
                              .to = batch->to,
                              .slots = batch->slots,
                              .slot_count = sc_slotset_count(&batch->slots),
                              .move = batch->move};
        *place = flow;
        begin_mover(flow);
    }
    return flows;
}

void sc_flows_free(struct sc_flows *flows)
{
    if (flows == NULL) {
        return;
    }
    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (flows->flows[i] != NULL) {
            sc_mover_free(flows->flows[i]->mover);
            free(flows->flows[i]);
        }
    }
    free(flows);
}
