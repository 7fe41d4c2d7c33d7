#include "coordinator/planner.h"
#include "tests/check_main.h"
#include "tests/random.h"

#define SHARDS_MAX 64

static uint32_t owner[SC_SLOT_COUNT];
static uint32_t after[SC_SLOT_COUNT];
static struct sc_planner_shard shards[SHARDS_MAX];
static size_t count;

static void add_shard(uint32_t weight)
{
    uint32_t id = count == 0 ? 1 : shards[count - 1].id + 1;
    shards[count++] = (struct sc_planner_shard){.id = id, .weight = weight};
}

/* `number` shards of one weight, the slots spread evenly in stretches. */
static void make_even(size_t number)
{
    count = 0;
    for (size_t i = 0; i < number; i++) {
        add_shard(100);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        owner[slot] = (uint32_t)((uint64_t)slot * number / SC_SLOT_COUNT) + 1;
    }
}

static uint32_t plan(void)
{
    sc_planner_quotas(shards, count, owner);
    return sc_planner_moves(shards, count, owner, after);
}

/* How many slots move from one shard to another; id 0 is any. */
static uint32_t moved(uint32_t from, uint32_t to)
{
    uint32_t sum = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sum += owner[slot] != after[slot] && (from == 0 || owner[slot] == from) &&
                       (to == 0 || after[slot] == to)
                   ? 1
                   : 0;
    }
    return sum;
}

static void carry_out(void)
{
    memcpy(owner, after, sizeof owner);
}

static uint32_t owned(uint32_t id)
{
    uint32_t sum = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sum += owner[slot] == id ? 1 : 0;
    }
    return sum;
}

static uint32_t stretches(const uint32_t *of)
{
    uint32_t sum = 1;
    for (uint32_t slot = 1; slot < SC_SLOT_COUNT; slot++) {
        sum += of[slot] != of[slot - 1] ? 1 : 0;
    }
    return sum;
}

START_TEST(an_even_layout_stays)
{
    make_even((size_t)_i);
    ck_assert_uint_eq(plan(), 0);
    ck_assert_mem_eq(owner, after, sizeof owner);
}
END_TEST

START_TEST(a_shard_that_joins_gets_its_share_evenly_from_the_others)
{
    uint64_t others = (uint64_t)_i;
    make_even(others);
    add_shard(100);
    uint64_t share = SC_SLOT_COUNT / (others + 1);
    ck_assert_uint_eq(plan(), share);
    ck_assert_uint_eq(moved(0, (uint32_t)others + 1), share);
    for (uint32_t id = 1; id <= others; id++) {
        ck_assert_uint_ge(moved(id, 0), share / others);
        ck_assert_uint_le(moved(id, 0), share / others + 1);
    }
    ck_assert_uint_le(stretches(after), 2 * others);
    carry_out();
    ck_assert_uint_eq(plan(), 0);
}
END_TEST

START_TEST(one_shard_after_another_joins)
{
    make_even(1);
    for (uint32_t shard_count = 2; shard_count <= 40; shard_count++) {
        add_shard(100);
        ck_assert_uint_eq(plan(), SC_SLOT_COUNT / shard_count);
        ck_assert_uint_eq(moved(0, shard_count), SC_SLOT_COUNT / shard_count);
        carry_out();
    }
}
END_TEST

START_TEST(several_that_join_together_are_planned_together)
{
    make_even(4);
    for (int i = 0; i < 4; i++) {
        add_shard(100);
    }
    ck_assert_uint_eq(plan(), SC_SLOT_COUNT / 2);
    for (uint32_t id = 1; id <= 8; id++) {
        ck_assert_uint_eq(id <= 4 ? moved(id, 0) : moved(0, id), SC_SLOT_COUNT / 8);
    }
}
END_TEST

START_TEST(a_shard_that_leaves_is_dealt_out_to_the_others)
{
    make_even((size_t)_i);
    size_t leaving = (size_t)_i / 2;
    uint32_t id = shards[leaving].id;
    uint32_t had = owned(id);
    shards[leaving].leaving = true;
    ck_assert_uint_eq(plan(), had);
    ck_assert_uint_eq(moved(id, 0), had);
    carry_out();
    for (size_t i = 0; i < count; i++) {
        uint32_t least = i == leaving ? 0 : SC_SLOT_COUNT / (uint32_t)(count - 1);
        ck_assert_uint_ge(owned(shards[i].id), least);
        ck_assert_uint_le(owned(shards[i].id), i == leaving ? 0 : least + 1);
    }
}
END_TEST

START_TEST(a_shard_is_replaced_by_moving_its_slots_only)
{
    make_even(3);
    add_shard(100);
    shards[1].leaving = true;
    uint32_t had = owned(2);
    ck_assert_uint_eq(plan(), had);
    ck_assert_uint_eq(moved(2, 4), had);
}
END_TEST

START_TEST(weights_are_kept_to)
{
    make_even(2);
    add_shard(200);
    ck_assert_uint_eq(plan(), SC_SLOT_COUNT / 2);
    ck_assert_uint_eq(moved(1, 3), SC_SLOT_COUNT / 4);
    ck_assert_uint_eq(moved(2, 3), SC_SLOT_COUNT / 4);
    carry_out();
    ck_assert_uint_eq(plan(), 0);
}
END_TEST

START_TEST(a_shard_gives_its_short_stretches_first)
{
    make_even(2);
    owner[100] = 2;
    owner[300] = owner[301] = 2;
    add_shard(100);
    (void)plan();
    ck_assert_uint_eq(after[100], 3);
    ck_assert_uint_eq(after[300], 3);
    ck_assert_uint_eq(after[301], 3);
    ck_assert_uint_eq(after[SC_SLOT_COUNT / 2], 2);
    ck_assert_uint_eq(after[SC_SLOT_COUNT - 1], 3);
}
END_TEST

/* ---- Random layouts ---- */

static struct test_random dice;

static void make_random(void)
{
    size_t number = 1 + (size_t)test_random_below(&dice, test_random_below(&dice, 4) ? 9 : 60);
    bool weights = test_random_below(&dice, 2) == 0;
    count = 0;
    for (size_t i = 0; i < number; i++) {
        add_shard(weights ? 1 + (uint32_t)test_random_below(&dice, 500) : 100);
        shards[i].leaving = i > 0 && test_random_below(&dice, 5) == 0;
    }
    /* Some own nothing; stretches are long in one run and short in another. */
    uint64_t owners = 1 + test_random_below(&dice, number);
    uint64_t length = 1 + test_random_below(&dice, test_random_below(&dice, 2) ? 2000 : 3);
    uint32_t at = 0;
    while (at < SC_SLOT_COUNT) {
        uint32_t id = shards[test_random_below(&dice, owners)].id;
        for (uint64_t n = 1 + test_random_below(&dice, length); n > 0 && at < SC_SLOT_COUNT; n--) {
            owner[at++] = id;
        }
    }
}

/* The quotas are shares by weight, and the least must move that any such quotas allow. */
static void check_quotas(void)
{
    uint64_t weights = 0;
    uint64_t sum = 0;
    uint32_t give = 0;
    uint32_t extra = SC_SLOT_COUNT; /* shards whose share is rounded up */
    uint32_t owns_more = 0; /* shards that would have to give one less then */
    for (size_t i = 0; i < count; i++) {
        weights += shards[i].leaving ? 0 : shards[i].weight;
    }
    must(weights > 0);
    for (size_t i = 0; i < count; i++) {
        uint64_t share = shards[i].leaving ? 0 : (uint64_t)shards[i].weight * SC_SLOT_COUNT;
        uint32_t least = (uint32_t)(share / weights);
        bool whole = share % weights == 0;
        must(shards[i].quota == least || (!whole && shards[i].quota == least + 1));
        must(shards[i].slots == owned(shards[i].id));
        sum += shards[i].quota;
        extra -= least;
        give += shards[i].slots > least ? shards[i].slots - least : 0;
        owns_more += !whole && shards[i].slots > least ? 1 : 0;
    }
    must(sum == SC_SLOT_COUNT);
    must(moved(0, 0) == give - (extra < owns_more ? extra : owns_more));
}

static void check_moves(void)
{
    uint32_t givers = 0;
    uint32_t takers = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t id = shards[i].id;
        uint32_t gives = moved(id, 0);
        uint32_t takes = moved(0, id);
        must(gives == 0 || takes == 0);
        must(shards[i].slots - gives + takes == shards[i].quota);
        givers += gives > 0 ? 1 : 0;
        takers += takes > 0 ? 1 : 0;
    }
    must(stretches(after) <= stretches(owner) + givers + takers);
}

/* Carries out some of the moves; the rest must be planned again, and nothing else. */
static void carry_out_some(void)
{
    static uint32_t wanted[SC_SLOT_COUNT];
    uint32_t left = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (owner[slot] != after[slot] && test_random_below(&dice, 3) > 0) {
            owner[slot] = after[slot];
        }
        left += owner[slot] != after[slot] ? 1 : 0;
    }
    memcpy(wanted, after, sizeof wanted);
    must(sc_planner_moves(shards, count, owner, after) == left);
    check_moves();
}

START_TEST(random_layouts_converge_with_the_fewest_moves)
{
    dice = test_random_start("planner");
    for (int run = 0; run < 300; run++) {
        make_random();
        must(plan() == moved(0, 0));
        check_quotas();
        check_moves();
        carry_out_some();
        carry_out();
        must(plan() == 0);
    }
}
END_TEST

/* ---- Fleets that grow, shrink and change their weights ---- */

static void check_even(uint32_t slots, uint64_t of)
{
    must(slots >= SC_SLOT_COUNT / of && slots <= SC_SLOT_COUNT / of + 1);
}

/* From an even layout of equal shards some join at once: nothing moves between the old ones, each
 * new one gets its share, and what the old ones give differs by one slot. */
static void grow(uint32_t others, uint32_t more)
{
    for (uint32_t i = 0; i < more; i++) {
        add_shard(100);
    }
    uint32_t moves = plan();
    uint32_t least = SC_SLOT_COUNT;
    uint32_t most = 0;
    uint32_t got = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t id = shards[i].id;
        bool old = i < others;
        must(old ? moved(0, id) == 0 : moved(id, 0) == 0);
        least = old && shards[i].quota < least ? shards[i].quota : least;
        most = old && shards[i].quota > most ? shards[i].quota : most;
        got += old ? 0 : moved(0, id);
        check_even(shards[i].quota, count);
    }
    must(most - least <= 1);
    must(got == moves);
    must(more > 1 || moves == SC_SLOT_COUNT / (others + 1));
    /* The fewest: no layout of such quotas has the new ones own less than all old ones can keep. */
    uint32_t rounded_up = SC_SLOT_COUNT % (uint32_t)count;
    uint32_t kept =
        others * (SC_SLOT_COUNT / (uint32_t)count) + (rounded_up < others ? rounded_up : others);
    must(moves == SC_SLOT_COUNT - kept);
}

START_TEST(any_number_joins_an_even_layout)
{
    dice = test_random_start("planner");
    for (int run = 0; run < 100; run++) {
        uint32_t others = 1 + (uint32_t)test_random_below(&dice, SHARDS_MAX / 2);
        make_even(others);
        grow(others, 1 + (uint32_t)test_random_below(&dice, SHARDS_MAX / 2));
        carry_out();
        must(plan() == 0);
    }
}
END_TEST

/* Takes shards off the list that are leaving and own nothing. */
static void let_go(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!shards[i].leaving || owned(shards[i].id) > 0) {
            shards[kept++] = shards[i];
        }
    }
    count = kept;
}

static void change_something(void)
{
    size_t at = (size_t)test_random_below(&dice, count);
    size_t staying = 0;
    for (size_t i = 0; i < count; i++) {
        staying += shards[i].leaving ? 0 : 1;
    }
    switch (test_random_below(&dice, 4)) {
    case 0:
        shards[at].leaving = shards[at].leaving || staying > 1;
        break;
    case 1:
        shards[at].weight = 1 + (uint32_t)test_random_below(&dice, 1000);
        break;
    case 2:
        shards[at].leaving = false; /* a cancelled leave */
        break;
    default:
        if (count < SHARDS_MAX) {
            add_shard(test_random_below(&dice, 2) ? 100 : 250);
        }
        break;
    }
}

/* Changes come while moves are under way; when they cease, it ends, and no slot moves twice then.
 */
START_TEST(a_life_ends_in_balance)
{
    dice = test_random_start("planner");
    for (int run = 0; run < 5; run++) {
        make_even(1 + (size_t)test_random_below(&dice, 8));
        for (int step = 0; step < 30; step++) {
            change_something();
            (void)plan();
            check_quotas();
            check_moves();
            carry_out_some();
            let_go();
        }
        uint32_t left = plan();
        for (uint32_t batches = 0; left > 0; batches++) {
            must(batches < SC_SLOT_COUNT);
            for (uint32_t slot = 0, batch = 0; slot < SC_SLOT_COUNT && batch < 256; slot++) {
                batch += owner[slot] != after[slot] ? 1 : 0;
                owner[slot] = after[slot];
            }
            uint32_t next = plan();
            must(next == (left > 256 ? left - 256 : 0));
            left = next;
        }
        let_go();
        for (size_t i = 0; i < count; i++) {
            must(!shards[i].leaving && owned(shards[i].id) == shards[i].quota);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("planner");
    TCase *tcase = tcase_create("planner");
    tcase_add_loop_test(tcase, an_even_layout_stays, 1, SHARDS_MAX);
    tcase_add_loop_test(tcase, a_shard_that_joins_gets_its_share_evenly_from_the_others, 1,
                        SHARDS_MAX - 1);
    tcase_add_test(tcase, one_shard_after_another_joins);
    tcase_add_test(tcase, several_that_join_together_are_planned_together);
    tcase_add_loop_test(tcase, a_shard_that_leaves_is_dealt_out_to_the_others, 2, SHARDS_MAX);
    tcase_add_test(tcase, a_shard_is_replaced_by_moving_its_slots_only);
    tcase_add_test(tcase, weights_are_kept_to);
    tcase_add_test(tcase, a_shard_gives_its_short_stretches_first);
    tcase_add_test(tcase, random_layouts_converge_with_the_fewest_moves);
    tcase_add_test(tcase, any_number_joins_an_even_layout);
    tcase_add_test(tcase, a_life_ends_in_balance);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
