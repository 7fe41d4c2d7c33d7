#include "coordinator/change.h"
#include "tests/check_main.h"

#include "common/mp.h"

#include <stdio.h>

static struct sc_cluster cluster;
static char why[SC_WHY_SIZE];

static void clean(void)
{
    sc_cluster_fini(&cluster);
}

static void create(size_t count)
{
    static char names[SC_CLUSTER_SHARDS_MAX][40];
    const char *urls[SC_CLUSTER_SHARDS_MAX];
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "ipc:///shard-%zu", i + 1);
        urls[i] = names[i];
    }
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, count, why), SC_OK);
}

START_TEST(slots_are_spread_evenly)
{
    create((size_t)_i);
    uint32_t slots[SC_CLUSTER_SHARDS_MAX + 1] = {0};
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        slots[cluster.owner[slot]]++;
    }
    uint32_t least = SC_SLOT_COUNT / (uint32_t)_i;
    for (int id = 1; id <= _i; id++) {
        ck_assert_uint_ge(slots[id], least);
        ck_assert_uint_le(slots[id], least + 1);
    }
    ck_assert_uint_eq(slots[0], 0);
}
END_TEST

START_TEST(a_shard_listed_twice_is_refused)
{
    const char *urls[] = {"ipc:///a", "ipc:///b", "ipc:///a"};
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 3, why), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "ipc:///a"));
    ck_assert_ptr_nonnull(strstr(why, "twice"));
}
END_TEST

START_TEST(a_first_start_without_shards_is_refused)
{
    ck_assert_int_eq(sc_cluster_create(&cluster, NULL, 0, why), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "--shard"));
}
END_TEST

START_TEST(encoding_and_decoding_keeps_the_map)
{
    create(5);
    cluster.term = 17;
    cluster.epoch = 1u << 20;
    cluster.shards[3].adopted = true;
    cluster.shards[4].state = SC_CLUSTER_LEAVING;
    cluster.shards[4].weight = 70;
    cluster.owner[77] = 5;
    struct sc_change batch = {.kind = SC_CHANGE_BATCH, .move = 1, .from = 5, .to = 2};
    sc_slotset_add(&batch.slots, 77);
    sc_slotset_add(&batch.slots, SC_SLOT_COUNT - 1);
    ck_assert(sc_change_apply(&batch, &cluster));
    cluster.steering = (struct sc_cluster_steering){true, true, 1000};
    struct sc_buf encoded = {0};
    struct sc_cluster copy;
    sc_cluster_encode(&cluster, &encoded);
    ck_assert_int_eq(sc_cluster_decode(&copy, sc_buf_slice(&encoded), why), SC_OK);
    ck_assert_mem_eq(copy.id, cluster.id, sizeof copy.id);
    ck_assert_uint_eq(copy.term, 17);
    ck_assert_uint_eq(copy.epoch, 1u << 20);
    ck_assert_uint_eq(copy.next_shard_id, 6);
    ck_assert_uint_eq(copy.shard_count, 5);
    ck_assert(copy.shards[3].adopted && !copy.shards[2].adopted);
    ck_assert_str_eq(copy.shards[4].url, "ipc:///shard-5");
    ck_assert_int_eq(copy.shards[4].state, SC_CLUSTER_LEAVING);
    ck_assert_uint_eq(copy.shards[4].weight, 70);
    ck_assert_uint_eq(copy.shards[4].slots, SC_SLOT_COUNT / 5 + 1);
    ck_assert_uint_eq(copy.batch_count, 1);
    ck_assert_uint_eq(copy.batches[0].from, 5);
    ck_assert_mem_eq(&copy.batches[0].slots, &batch.slots, sizeof batch.slots);
    ck_assert_uint_eq(copy.next_move, 2);
    ck_assert(copy.steering.balancing && copy.steering.paused);
    ck_assert_uint_eq(copy.steering.bytes_per_second, 1000);
    ck_assert_mem_eq(copy.owner, cluster.owner, sizeof copy.owner);
    sc_cluster_fini(&copy);
    sc_buf_fini(&encoded);
}
END_TEST

START_TEST(a_map_cut_anywhere_is_refused)
{
    create(3);
    struct sc_buf encoded = {0};
    struct sc_cluster copy;
    sc_cluster_encode(&cluster, &encoded);
    for (size_t size = 0; size < encoded.size; size++) {
        struct sc_slice cut = sc_slice(encoded.data, size);
        ck_assert_int_eq(sc_cluster_decode(&copy, cut, why), SC_CORRUPT);
        ck_assert_ptr_null(copy.shards);
    }
    sc_buf_fini(&encoded);
}
END_TEST

START_TEST(a_map_that_leaves_slots_without_owner_is_refused)
{
    create(2);
    struct sc_buf encoded = {0};
    struct sc_cluster copy;
    cluster.owner[100] = 9; /* no such shard */
    sc_cluster_encode(&cluster, &encoded);
    ck_assert_int_eq(sc_cluster_decode(&copy, sc_buf_slice(&encoded), why), SC_CORRUPT);
    sc_buf_fini(&encoded);
}
END_TEST

START_TEST(a_batch_whose_slots_are_not_the_sources_is_refused)
{
    create(2);
    struct sc_change batch = {.kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 2};
    struct sc_buf encoded = {0};
    struct sc_cluster copy;
    sc_slotset_add(&batch.slots, 5);
    ck_assert(sc_change_apply(&batch, &cluster));
    sc_cluster_encode(&cluster, &encoded);
    ck_assert_int_eq(sc_cluster_decode(&copy, sc_buf_slice(&encoded), why), SC_OK);
    sc_cluster_fini(&copy);
    encoded.size = 0;
    cluster.owner[5] = 2;
    sc_cluster_encode(&cluster, &encoded);
    ck_assert_int_eq(sc_cluster_decode(&copy, sc_buf_slice(&encoded), why), SC_CORRUPT);
    sc_buf_fini(&encoded);
}
END_TEST

START_TEST(shards_are_found_whichever_have_left)
{
    create(40);
    for (uint32_t id = 2; id <= 40; id += 3) {
        struct sc_change removed = {.kind = SC_CHANGE_SHARD_REMOVED, .shard_id = id};
        ck_assert(!sc_change_apply(&removed, &cluster)); /* it has slots */
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
            cluster.owner[slot] = cluster.owner[slot] == id ? 1 : cluster.owner[slot];
        }
        sc_cluster_shard(&cluster, id)->slots = 0;
        ck_assert(sc_change_apply(&removed, &cluster));
        ck_assert(!sc_change_apply(&removed, &cluster));
    }
    for (uint32_t id = 0; id <= 41; id++) {
        const struct sc_cluster_shard *shard = sc_cluster_shard(&cluster, id);
        ck_assert((shard != NULL) == (id >= 1 && id <= 40 && id % 3 != 2));
        ck_assert(shard == NULL || shard->id == id);
    }
    ck_assert_uint_eq(cluster.next_shard_id, 41);
}
END_TEST

START_TEST(stretches_cover_every_slot_once)
{
    create(3);
    cluster.owner[10] = 3;
    uint32_t last = 0;
    uint32_t stretches = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        last = sc_cluster_stretch_end(&cluster, first);
        ck_assert_uint_ge(last, first);
        stretches++;
    }
    ck_assert_uint_eq(last, SC_SLOT_COUNT - 1);
    ck_assert_uint_eq(stretches, 5);
    ck_assert_uint_eq(sc_cluster_stretch_end(&cluster, 10), 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cluster");
    TCase *tcase = tcase_create("cluster");
    tcase_add_checked_fixture(tcase, NULL, clean);
    tcase_add_loop_test(tcase, slots_are_spread_evenly, 1, 40);
    tcase_add_test(tcase, a_shard_listed_twice_is_refused);
    tcase_add_test(tcase, a_first_start_without_shards_is_refused);
    tcase_add_test(tcase, encoding_and_decoding_keeps_the_map);
    tcase_add_test(tcase, a_map_cut_anywhere_is_refused);
    tcase_add_test(tcase, a_map_that_leaves_slots_without_owner_is_refused);
    tcase_add_test(tcase, a_batch_whose_slots_are_not_the_sources_is_refused);
    tcase_add_test(tcase, shards_are_found_whichever_have_left);
    tcase_add_test(tcase, stretches_cover_every_slot_once);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
