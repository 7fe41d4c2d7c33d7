#include "coordinator/router.h"

#include "coordinator/gather.h"

#include <stdio.h>

static enum sc_lane lane_of(bool writes)
{
    return writes ? SC_LANE_WRITES : SC_LANE_READS;
}

/* Fills in what the target has to tell of the request, and returns the lanes of its shard. */
static struct sc_lanes *find_lanes(const struct sc_fleet *fleet, struct sc_slice key, enum sc_op op,
                                   struct sc_target *target)
{
    uint32_t slot = sc_slot_of_key(key);
    target->slot = (uint16_t)slot;
    target->bulky = op == SC_OP_GET;
    return sc_backend_lanes(fleet->of_slot[slot]);
}

void sc_router_single(struct sc_fleet *fleet, const struct sc_msg_request *request,
                      const struct sc_sp_origin *origin)
{
    enum sc_lane lane = lane_of((sc_op_kind(request->op) & SC_OP_WRITE) != 0);
    struct sc_target target = {.origin = *origin};
    struct sc_lanes *lanes = find_lanes(fleet, request->key, request->op, &target);
    struct sc_buf *out = sc_lanes_submit_begin(lanes, lane, &target);
    if (out != NULL) {
        sc_buf_append_slice(out, request->raw);
        sc_lanes_submit_end(lanes, lane, &target);
    }
}

/* The item as a request of its own. */
static void put_item(struct sc_buf *out, enum sc_op parent, const struct sc_msg_request *item)
{
    if (parent == SC_OP_MPUT) {
        sc_msg_put_mput_item(out, item);
    } else if (parent == SC_OP_MGET || parent == SC_OP_MDEL) {
        sc_msg_put_raw_key_request(out, item->op, item->key_raw);
    } else {
        sc_buf_append_slice(out, item->raw);
    }
}

static void reply_empty(const struct sc_sp_origin *origin)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_array(out, 0);
    sc_sp_reply_end(origin);
}

static void reply_too_many(const struct sc_sp_origin *origin, uint32_t count)
{
    char why[SC_WHY_SIZE];
    sc_why(why, "%u items in one message, %u are the limit: send several", count,
           SC_BATCH_ITEMS_MAX);
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, SC_TOOLARGE, why);
    sc_sp_reply_end(origin);
}

void sc_router_multi(struct sc_fleet *fleet, struct sc_msg_request *request,
                     const struct sc_msg_limits *limits, const struct sc_sp_origin *origin)
{
    uint32_t count = request->item_count;
    if (count == 0) {
        reply_empty(origin);
        return;
    }
    if (count > SC_BATCH_ITEMS_MAX) {
        reply_too_many(origin, count);
        return;
    }
    enum sc_lane lane = lane_of(sc_msg_has_write(request));
    struct sc_gather *gather = sc_gather_alloc(origin, count, fleet->message_max);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_msg_request item;
        char why[SC_WHY_SIZE];
        enum sc_status status = sc_msg_next_item(request, limits, &item, why);
        if (status != SC_OK) {
            sc_gather_put_status(gather, i, status, why);
            continue;
        }
        struct sc_target target = {.gather = gather, .index = i};
        struct sc_lanes *lanes = find_lanes(fleet, item.key, item.op, &target);
        struct sc_buf *out = sc_lanes_submit_begin(lanes, lane, &target);
        if (out != NULL) {
            put_item(out, request->op, &item);
            sc_lanes_submit_end(lanes, lane, &target);
        }
    }
}
