#include "shard/membership.h"

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void sc_membership_init(struct sc_membership *membership, struct sc_bitcask *store)
{
    *membership = (struct sc_membership){.store = store};
}

void sc_membership_fini(struct sc_membership *membership)
{
    sc_membership_grant_fini(&membership->latest);
    *membership = (struct sc_membership){0};
}

void sc_membership_grant_fini(struct sc_membership_grant *grant)
{
    free(grant->ranges);
    grant->ranges = NULL;
    grant->range_count = 0;
}

/* ---- Leases ---- */

void sc_membership_seal(struct sc_membership *membership, const uint8_t slots[SC_SLOT_COUNT / 8],
                        uint64_t until_ms)
{
    memcpy(membership->seal, slots, sizeof membership->seal);
    membership->read_until_ms = until_ms;
    membership->sealed = true;
}

void sc_membership_unseal(struct sc_membership *membership)
{
    membership->sealed = false;
}

bool sc_membership_is_lapsed(const struct sc_membership *membership, uint32_t slot)
{
    return membership->sealed && (membership->seal[slot / 8] >> (slot % 8) & 1) != 0 &&
           sc_clock_mono_ms() > membership->read_until_ms;
}

bool sc_membership_serves_all(const struct sc_membership *membership, uint32_t *lapsed)
{
    if (!membership->sealed || sc_clock_mono_ms() <= membership->read_until_ms) {
        return true;
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if ((membership->owned[slot / 8] & membership->seal[slot / 8]) >> (slot % 8) & 1) {
            *lapsed = slot;
            return false;
        }
    }
    return true;
}

/* ---- Refusals ---- */

static const struct sc_membership_range *find_range(const struct sc_membership *membership,
                                                    uint32_t slot)
{
    for (size_t i = 0; i < membership->latest.range_count; i++) {
        const struct sc_membership_range *range = &membership->latest.ranges[i];
        if (slot >= range->first && slot <= range->last) {
            return range;
        }
    }
    return NULL;
}

void sc_membership_refuse(const struct sc_membership *membership, uint32_t slot,
                          struct sc_buf *reply)
{
    if (!membership->granted) {
        sc_msg_reply_status(reply, SC_UNAVAILABLE,
                            "this shard waits for its coordinator to grant it its slots");
        return;
    }
    char why[SC_WHY_SIZE];
    if (sc_membership_is_lapsed(membership, slot)) {
        sc_why(why, "slot %" PRIu32 " is being handed over to another shard", slot);
        sc_msg_reply_status(reply, SC_UNAVAILABLE, why);
        return;
    }
    const struct sc_membership_range *range = find_range(membership, slot);
    sc_why(why, "slot %" PRIu32 " belongs to shard %" PRIu32, slot,
           range != NULL ? range->shard_id : 0);
    sc_msg_reply_moved(reply, why, membership->epoch,
                       sc_slice_str(range != NULL ? range->url : ""));
}

/* ---- Operations ---- */

static void put_move(bool is_one, uint64_t move, struct sc_buf *reply)
{
    if (is_one) {
        sc_mp_put_uint(reply, move);
    } else {
        sc_mp_put_nil(reply);
    }
}

/* Three members of the map. */
static void put_moves(const struct sc_membership *membership, struct sc_buf *reply)
{
    struct sc_bitcask_moves moves = sc_bitcask_moves(membership->store);
    sc_mp_put_cstr(reply, "importing");
    put_move(moves.importing, moves.import_move, reply);
    sc_mp_put_cstr(reply, "ready");
    sc_mp_put_bool(reply, moves.ready);
    sc_mp_put_cstr(reply, "exporting");
    put_move(moves.exporting, moves.export_move, reply);
}

void sc_membership_hello(const struct sc_membership *membership, struct sc_buf *reply)
{
    struct sc_bitcask_identity identity;
    struct sc_bitcask_stats stats;
    sc_bitcask_identity(membership->store, &identity);
    sc_bitcask_stats(membership->store, &stats);
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_map(reply, 13);
    sc_mp_put_member(reply, "clock_ms", sc_clock_mono_ms());
    sc_mp_put_cstr(reply, "adopted");
    sc_mp_put_bool(reply, identity.adopted);
    sc_mp_put_cstr(reply, "cluster");
    sc_mp_put_bin(reply, sc_slice(identity.cluster, sizeof identity.cluster));
    sc_mp_put_member(reply, "shard", identity.shard_id);
    sc_mp_put_member(reply, "term", identity.term);
    sc_mp_put_member(reply, "keys", stats.keys);
    sc_mp_put_member(reply, "bytes", stats.live_bytes);
    sc_mp_put_member(reply, "memory", stats.keydir_bytes);
    sc_mp_put_member(reply, "disk_free", sc_bitcask_disk_free(membership->store));
    sc_mp_put_member(reply, "memory_max", sc_bitcask_memory_max(membership->store));
    put_moves(membership, reply);
}

void sc_membership_adopt(struct sc_membership *membership, const struct sc_msg_request *request,
                         struct sc_buf *reply)
{
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = sc_bitcask_adopt(membership->store, request->cluster.data,
                                             (uint32_t)request->shard_id, why);
    if (status == SC_OK) {
        sc_log_info("adopted as shard %" PRIu64, request->shard_id);
    }
    sc_msg_reply_status(reply, status, status == SC_OK ? NULL : why);
}

/* Reads one range of a grant, [first, last, shard id, url]. */
static bool parse_range(struct sc_mp *mp, struct sc_membership_range *range)
{
    uint32_t members = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t shard = 0;
    struct sc_slice url = {0};
    if (!sc_mp_array(mp, &members) || members != 4 || !sc_mp_uint(mp, &first) ||
        !sc_mp_uint(mp, &last) || !sc_mp_uint(mp, &shard) || !sc_mp_str(mp, &url)) {
        return false;
    }
    if (first > last || last >= SC_SLOT_COUNT || shard > UINT32_MAX || url.size > SC_URL_MAX) {
        return false;
    }
    range->first = (uint32_t)first;
    range->last = (uint32_t)last;
    range->shard_id = (uint32_t)shard;
    memcpy(range->url, url.data, url.size);
    range->url[url.size] = '\0';
    return true;
}

static struct sc_membership_range *parse_ranges(struct sc_mp mp, uint32_t *count)
{
    if (!sc_mp_array(&mp, count) || *count == 0 || *count > SC_SLOT_COUNT) {
        return NULL;
    }
    struct sc_membership_range *ranges = sc_calloc(*count, sizeof *ranges);
    for (uint32_t i = 0; i < *count; i++) {
        if (!parse_range(&mp, &ranges[i])) {
            free(ranges);
            return NULL;
        }
    }
    return ranges;
}

static enum sc_status check_grant(const struct sc_membership *membership,
                                  const struct sc_msg_request *request, char *why)
{
    const struct sc_membership_grant *latest = &membership->latest;
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(membership->store, &identity);
    if (!identity.adopted || identity.shard_id != request->shard_id ||
        memcmp(identity.cluster, request->cluster.data, sizeof identity.cluster) != 0) {
        return sc_fail(why, SC_DENIED,
                       "this directory is not that of shard %" PRIu64
                       " of the cluster that the grant is for",
                       request->shard_id);
    }
    if (request->term < latest->term) {
        return sc_fail(why, SC_DENIED,
                       "the coordinator's term %" PRIu64 " is over: %" PRIu64 " has begun",
                       request->term, latest->term);
    }
    if (request->term == latest->term && request->epoch < latest->epoch) {
        return sc_fail(why, SC_DENIED,
                       "the grant is of epoch %" PRIu64 ", this shard is at %" PRIu64,
                       request->epoch, latest->epoch);
    }
    return SC_OK;
}

/* What was taken away by a grant that is not on disk yet is still in the manifest, but gone: it
 * must not be served again before it has arrived anew. */
static enum sc_status check_slots(const struct sc_membership *membership,
                                  const struct sc_membership_grant *grant, char *why)
{
    const struct sc_membership_grant *latest = &membership->latest;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT && latest->ranges != NULL; slot++) {
        bool regained =
            ((grant->owned[slot / 8] & ~latest->owned[slot / 8]) >> (slot % 8) & 1) != 0;
        if (regained && sc_bitcask_owns(membership->store, slot)) {
            return sc_fail(why, SC_DENIED,
                           "slot %" PRIu32 " cannot be served: it has been given away", slot);
        }
    }
    return sc_bitcask_check_grant(membership->store, grant->term, grant->owned, why);
}

enum sc_status sc_membership_read_grant(const struct sc_membership *membership,
                                        const struct sc_msg_request *request,
                                        struct sc_membership_grant *grant, char *why)
{
    uint32_t count = 0;
    *grant = (struct sc_membership_grant){.term = request->term, .epoch = request->epoch};
    enum sc_status status = check_grant(membership, request, why);
    if (status != SC_OK) {
        return status;
    }
    grant->ranges = parse_ranges(request->ranges, &count);
    grant->range_count = count;
    if (grant->ranges == NULL) {
        return sc_fail(why, SC_BADREQUEST, "x.grant: the ranges are malformed");
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sc_membership_range *range = &grant->ranges[i];
        for (uint32_t slot = range->first; slot <= range->last; slot++) {
            if (range->shard_id == request->shard_id) {
                grant->owned[slot / 8] = (uint8_t)(grant->owned[slot / 8] | 1u << (slot % 8));
            }
        }
    }
    return check_slots(membership, grant, why);
}

bool sc_membership_announce(struct sc_membership *membership, struct sc_membership_grant *grant)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(membership->store, &identity);
    sc_membership_grant_fini(&membership->latest);
    membership->latest = *grant;
    grant->ranges = NULL;
    grant->range_count = 0;
    for (size_t i = 0; i < sizeof membership->owned; i++) {
        membership->owned[i] = membership->owned[i] & grant->owned[i];
    }
    if (membership->granted) {
        membership->epoch = grant->epoch;
    }
    return grant->term != identity.term;
}

bool sc_membership_is_latest(const struct sc_membership *membership,
                             const struct sc_membership_grant *grant)
{
    const struct sc_membership_grant *latest = &membership->latest;
    return grant->term == latest->term && grant->epoch == latest->epoch &&
           memcmp(grant->owned, latest->owned, sizeof grant->owned) == 0;
}

void sc_membership_open(struct sc_membership *membership, const struct sc_membership_grant *grant)
{
    if (sc_membership_is_latest(membership, grant)) {
        membership->granted = true;
        membership->epoch = grant->epoch;
        memcpy(membership->owned, grant->owned, sizeof membership->owned);
    }
}

bool sc_membership_is_known(const struct sc_membership *membership,
                            const struct sc_membership_grant *grant)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(membership->store, &identity);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        bool now = (grant->owned[slot / 8] >> (slot % 8) & 1) != 0;
        if (now != sc_bitcask_owns(membership->store, slot)) {
            return false;
        }
    }
    return identity.epoch == grant->epoch;
}

void sc_membership_slots(const struct sc_membership *membership, struct sc_buf *reply)
{
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    size_t count_at = sc_mp_open_array(reply);
    uint32_t count = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first++) {
        if (!sc_membership_serves(membership, first)) {
            continue;
        }
        struct sc_bitcask_slot here = sc_bitcask_slot(membership->store, first);
        uint32_t last = first;
        /* Neighbours that are empty too need not be told apart. */
        while (here.keys == 0 && last + 1 < SC_SLOT_COUNT &&
               sc_membership_serves(membership, last + 1) &&
               sc_bitcask_slot(membership->store, last + 1).keys == 0) {
            last++;
        }
        const struct sc_msg_slots slots = {first, last, here.keys, here.bytes};
        sc_msg_put_slots(reply, &slots);
        count++;
        first = last;
    }
    sc_mp_close_array(reply, count_at, count);
}

/* True when range i is the first of its shard. */
static bool first_of_shard(const struct sc_membership *membership, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (membership->latest.ranges[j].shard_id == membership->latest.ranges[i].shard_id) {
            return false;
        }
    }
    return true;
}

static void put_shards(const struct sc_membership *membership, struct sc_buf *reply)
{
    size_t offset = sc_mp_open_array(reply);
    uint32_t shards = 0;
    for (size_t i = 0; i < membership->latest.range_count; i++) {
        if (first_of_shard(membership, i)) {
            sc_mp_put_map(reply, 2);
            sc_mp_put_member(reply, "id", membership->latest.ranges[i].shard_id);
            sc_mp_put_cstr(reply, "url");
            sc_mp_put_cstr(reply, membership->latest.ranges[i].url);
            shards++;
        }
    }
    sc_mp_close_array(reply, offset, shards);
}

void sc_membership_map(const struct sc_membership *membership, struct sc_buf *reply)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(membership->store, &identity);
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_map(reply, 6);
    sc_mp_put_cstr(reply, "cluster");
    sc_msg_put_cluster(reply, identity.cluster);
    sc_mp_put_member(reply, "shard", identity.shard_id);
    sc_mp_put_member(reply, "epoch", membership->epoch);
    sc_mp_put_member(reply, "slots", SC_SLOT_COUNT);
    sc_mp_put_cstr(reply, "shards");
    put_shards(membership, reply);
    sc_mp_put_cstr(reply, "ranges");
    sc_mp_put_array(reply, (uint32_t)membership->latest.range_count);
    for (size_t i = 0; i < membership->latest.range_count; i++) {
        sc_mp_put_array(reply, 3);
        sc_mp_put_uint(reply, membership->latest.ranges[i].first);
        sc_mp_put_uint(reply, membership->latest.ranges[i].last);
        sc_mp_put_uint(reply, membership->latest.ranges[i].shard_id);
    }
}
