#include "coordinator/draft.h"
#include "tests/check_main.h"

static struct sc_cluster cluster;
static struct sc_draft draft;

static void setup(void)
{
    static const char *const urls[] = {"ipc:///a", "ipc:///b", "ipc:///c"};
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 3, why), SC_OK);
}

static void teardown(void)
{
    sc_cluster_fini(&cluster);
}

/* The pairs are what the slots say, in order, and found. */
static void check_pairs(void)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < draft.pair_count; i++) {
        const struct sc_draft_pair *pair = &draft.pairs[i];
        uint32_t slots = 0;
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
            slots += cluster.owner[slot] == pair->from && draft.after[slot] == pair->to ? 1 : 0;
        }
        ck_assert_uint_eq(pair->slots, slots);
        ck_assert_uint_ne(pair->from, pair->to);
        ck_assert_uint_eq(sc_draft_find(&draft, pair->from, pair->to), i);
        ck_assert(i == 0 || pair[-1].from < pair->from ||
                  (pair[-1].from == pair->from && pair[-1].to < pair->to));
        sum += slots;
    }
    ck_assert_uint_eq(sum, draft.moves);
}

START_TEST(a_balanced_map_has_nothing_to_move)
{
    ck_assert(sc_draft_make(&draft, &cluster, NULL));
    ck_assert_uint_eq(draft.moves, 0);
    ck_assert_uint_eq(draft.pair_count, 0);
    sc_draft_fini(&draft);
}
END_TEST

START_TEST(each_change_has_its_plan_and_the_map_stays)
{
    const struct sc_change changes[] = {
        {.kind = SC_CHANGE_SHARD_ADDED, .shard_id = 4, .weight = 100, .url = "ipc:///d"},
        {.kind = SC_CHANGE_SHARD_STATE, .shard_id = 2, .state = SC_CLUSTER_LEAVING},
        {.kind = SC_CHANGE_SHARD_WEIGHT, .shard_id = 1, .weight = 200},
    };
    const uint32_t moves[] = {SC_SLOT_COUNT / 4, cluster.shards[1].slots,
                              SC_SLOT_COUNT / 2 - cluster.shards[0].slots};
    const size_t pairs[] = {3, 2, 2};
    for (size_t i = 0; i < 3; i++) {
        ck_assert(sc_draft_make(&draft, &cluster, &changes[i]));
        ck_assert_uint_eq(draft.moves, moves[i]);
        ck_assert_uint_eq(draft.pair_count, pairs[i]);
        check_pairs();
        sc_draft_fini(&draft);
        ck_assert_uint_eq(cluster.shard_count, 3);
        ck_assert_int_eq(cluster.shards[1].state, SC_CLUSTER_UP);
        ck_assert_uint_eq(cluster.shards[0].weight, 100);
    }
}
END_TEST

START_TEST(a_change_that_does_not_fit_has_none)
{
    const struct sc_change wrong = {
        .kind = SC_CHANGE_SHARD_STATE, .shard_id = 9, .state = SC_CLUSTER_LEAVING};
    ck_assert(!sc_draft_make(&draft, &cluster, &wrong));
    sc_draft_fini(&draft);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("draft");
    TCase *tcase = tcase_create("draft");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_balanced_map_has_nothing_to_move);
    tcase_add_test(tcase, each_change_has_its_plan_and_the_map_stays);
    tcase_add_test(tcase, a_change_that_does_not_fit_has_none);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
