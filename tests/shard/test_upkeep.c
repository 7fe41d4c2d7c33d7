/* Upkeep: merges on its thread, in their turn, at their rate, and without holding up the end. */
#include "shard/upkeep.h"

#include "common/clock.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#define PATIENCE_MS 30000

static struct fixture f;
static struct sc_sp_hub *hub;
static struct sc_committer *committer;
static struct sc_upkeep *upkeep;

static void on_committed(void *arg)
{
    (void)arg;
}

static void on_drained(void *arg)
{
    (void)arg;
    if (committer != NULL) {
        sc_committer_want(committer);
    }
}

static void on_tick(void *arg)
{
    (void)arg;
    if (upkeep != NULL) {
        sc_upkeep_tick(upkeep);
    }
}

static void start(uint64_t bytes_per_second)
{
    const struct sc_sp_hub_options options = {
        .message_max = 1 << 20, .on_drained = on_drained, .on_tick = on_tick};
    struct sc_upkeep_options merging = SC_UPKEEP_OPTIONS_DEFAULT;
    struct sc_committer *started_committer;
    struct sc_upkeep *started;
    merging.merge.dead_bytes_min = 4096;
    merging.merge_bytes_per_second = bytes_per_second;
    fixture_init(&f);
    f.options.file_size_max = 1 << 20;
    fixture_open(&f);
    ck_assert_int_eq(sc_sp_hub_open(&options, &hub, f.why), SC_OK);
    ck_assert_int_eq(sc_committer_start(hub, f.store, SC_BITCASK_SYNC_NEVER, on_committed, NULL,
                                        &started_committer, f.why),
                     SC_OK);
    ck_assert_int_eq(sc_upkeep_start(hub, f.store, started_committer, &merging, &started, f.why),
                     SC_OK);
    sc_sp_hub_lock(hub);
    committer = started_committer;
    upkeep = started;
    sc_sp_hub_unlock(hub);
}

static void stop(void)
{
    sc_sp_hub_lock(hub);
    struct sc_upkeep *stopped = upkeep;
    struct sc_committer *stopped_committer = committer;
    upkeep = NULL;
    committer = NULL;
    sc_sp_hub_unlock(hub);
    sc_upkeep_stop(stopped);
    sc_committer_stop(stopped_committer);
    sc_sp_hub_close(hub, 0);
    ck_assert_int_eq(sc_bitcask_close(f.store), SC_OK);
    f.store = NULL;
}

static void overwrite(int rounds)
{
    static char value[1000];
    const struct sc_bitcask_write options = {0};
    for (int i = 0; i < rounds * 500; i++) {
        char key[32];
        uint64_t version;
        struct sc_slice k = {key, (size_t)snprintf(key, sizeof key, "key-%d", i % 500)};
        sc_sp_hub_lock(hub);
        ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice(value, sizeof value),
                                        &options, &version, &f.position, f.why),
                         SC_OK);
        sc_sp_hub_unlock(hub);
    }
}

static struct sc_upkeep_figures figures(void)
{
    struct sc_upkeep_figures now;
    sc_sp_hub_lock(hub);
    sc_upkeep_figures(upkeep, &now);
    sc_sp_hub_unlock(hub);
    return now;
}

/* Waits until merges are in a state. */
static void await(enum sc_upkeep_merge_state state)
{
    uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;
    while (figures().state != state) {
        ck_assert_msg(sc_clock_mono_ms() < until, "the state stays %d", (int)figures().state);
        (void)usleep(1000);
    }
}

static struct sc_bitcask_stats stats(void)
{
    struct sc_bitcask_stats now;
    sc_sp_hub_lock(hub);
    sc_bitcask_stats(f.store, &now);
    sc_sp_hub_unlock(hub);
    return now;
}

static void configure(uint64_t bytes_per_second)
{
    struct sc_upkeep_options options = SC_UPKEEP_OPTIONS_DEFAULT;
    options.merge.dead_bytes_min = 4096;
    options.merge_bytes_per_second = bytes_per_second;
    sc_sp_hub_lock(hub);
    sc_upkeep_configure(upkeep, &options);
    sc_sp_hub_unlock(hub);
}

static void allow(bool allowed)
{
    sc_sp_hub_lock(hub);
    sc_upkeep_merge_allow(upkeep, allowed);
    sc_sp_hub_unlock(hub);
}

static void ask(void)
{
    sc_sp_hub_lock(hub);
    sc_upkeep_compact(upkeep);
    sc_sp_hub_unlock(hub);
}

START_TEST(dead_bytes_are_reclaimed_beside_traffic)
{
    start(0);
    overwrite(10);
    ask();
    uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;
    while (stats().dead_bytes > 0) {
        ck_assert_uint_lt(sc_clock_mono_ms(), until);
        (void)usleep(1000);
    }
    await(SC_UPKEEP_IDLE);
    ck_assert_uint_ge(figures().merge.merges, 1);
    ck_assert(!figures().merge.asked);
    ck_assert_uint_eq(stats().keys, 500);
    stop();
    fixture_open(&f);
    expect(&f, "key-1000", NULL);
    fixture_fini(&f);
}
END_TEST

START_TEST(merge_waits_for_its_turn_and_pauses_without_it)
{
    start(1);
    allow(false);
    overwrite(6);
    ask();
    await(SC_UPKEEP_WAITING);
    ck_assert_uint_eq(figures().merge.merges, 0);
    allow(true);
    await(SC_UPKEEP_MERGING);
    allow(false);
    await(SC_UPKEEP_PAUSED);
    configure(0);
    uint64_t done = figures().merge.merges;
    ck_assert_uint_eq(done, 0);
    allow(true);
    await(SC_UPKEEP_IDLE);
    ck_assert_uint_ge(figures().merge.merges, 1);
    stop();
    fixture_fini(&f);
}
END_TEST

START_TEST(merge_that_would_take_for_ever_does_not_hold_up_the_end)
{
    start(1); /* a byte a second */
    overwrite(2);
    ask();
    await(SC_UPKEEP_MERGING);
    stop();
    size_t files = data_files(f.dir);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    ck_assert_uint_eq(data_files(f.dir), files);
    fixture_fini(&f);
}
END_TEST

static void pause_merges(bool paused)
{
    sc_sp_hub_lock(hub);
    sc_upkeep_merge_pause(upkeep, paused);
    sc_sp_hub_unlock(hub);
}

/* Waits until all that was written is committed. */
static void await_commits(void)
{
    uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;
    bool done = false;
    while (!done) {
        ck_assert_uint_lt(sc_clock_mono_ms(), until);
        sc_sp_hub_lock(hub);
        done = sc_bitcask_committed(f.store) == sc_bitcask_appended(f.store);
        sc_sp_hub_unlock(hub);
        (void)usleep(1000);
    }
}

/* Waits until more space is taken than the bound allows. */
static struct sc_upkeep_figures await_excess(void)
{
    uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;
    struct sc_upkeep_figures now = figures();
    while (now.disk_bytes <= now.disk_bound) {
        ck_assert_uint_lt(sc_clock_mono_ms(), until);
        (void)usleep(1000);
        now = figures();
    }
    return now;
}

START_TEST(store_near_its_bound_does_not_wait_for_its_turn)
{
    start(0);
    allow(false);
    pause_merges(true);
    overwrite(40); /* 20 MB, of which half a megabyte is needed */
    await_commits();
    await(SC_UPKEEP_WAITING);
    struct sc_upkeep_figures now = await_excess(); /* of the last look, which may come later */
    ck_assert_uint_eq(now.merge.merges, 0); /* a pause goes before everything, */
    ck_assert_uint_eq(now.stalled_us, 0); /* and nobody waits for what does not come */
    pause_merges(false);
    await(SC_UPKEEP_IDLE);
    now = figures();
    ck_assert_uint_ge(now.merge.merges, 1);
    ck_assert_uint_le(now.disk_bytes, now.disk_bound);
    stop();
    fixture_fini(&f);
}
END_TEST

START_TEST(commits_that_are_held_back_come_in_the_end)
{
    static const struct sc_bitcask_write options = {0};
    struct sc_slice key = sc_slice_str("key");
    struct sc_buf value = {0};
    uint64_t version;
    sc_bitcask_position position;
    start(0);
    for (int round = 0; round < 3; round++) {
        sc_sp_hub_lock(hub);
        sc_committer_hold(committer, 0);
        ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), key, &options, &version,
                                        &f.position, f.why),
                         SC_OK);
        sc_committer_want(committer);
        ck_assert_uint_lt(sc_bitcask_committed(f.store), f.position);
        ck_assert_int_eq(sc_bitcask_get(f.store, sc_slice_str("another"),
                                        sc_slot_hash(sc_slice_str("another")), &value, &position,
                                        f.why),
                         SC_NOTFOUND);
        ck_assert_uint_le(position, sc_bitcask_committed(f.store)); /* may be answered at once */
        if (round == 2) {
            (void)sc_committer_want_sync(committer); /* a merge may need it: nobody holds that */
        }
        sc_sp_hub_unlock(hub);
        await_commits();
    }
    ck_assert_uint_gt(figures().stalled_us, 0);
    stop();
    fixture_fini(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upkeep");
    TCase *t = tcase_create("upkeep");
    tcase_add_test(t, dead_bytes_are_reclaimed_beside_traffic);
    tcase_add_test(t, merge_waits_for_its_turn_and_pauses_without_it);
    tcase_add_test(t, merge_that_would_take_for_ever_does_not_hold_up_the_end);
    tcase_add_test(t, store_near_its_bound_does_not_wait_for_its_turn);
    tcase_add_test(t, commits_that_are_held_back_come_in_the_end);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
