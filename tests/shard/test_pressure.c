/* How much disk a store takes that is overwritten, and what its writers wait for. */
#include "shard/pressure.h"

#include "shard/bitcask_impl.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/merging.h"

#include <dirent.h>
#include <sys/stat.h>

#define FILE_SIZE SC_PRESSURE_FILE_MIN
#define KEYS 4000u
#define VALUE_SIZE 1000u
#define BESIDE_EVERY 8u /* times that a merge lets others have the lock */
#define LOOK_EVERY 64u /* puts, as a tick comes after some */

static struct fixture f;
static struct merging m;
static struct sc_pressure pressure;
static struct sc_pressure_figures space;
static uint64_t until; /* what lies behind this position has to wait */
static uint64_t random_state;
static bool full_speed; /* write beside merges as much as there is room for */

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = FILE_SIZE;
    merging_init(&m, &f);
    m.options =
        (struct sc_merge_options){SC_MERGE_DEAD_PERCENT_DEFAULT, SC_MERGE_DEAD_BYTES_MIN_DEFAULT};
    merging_open(&m);
    pressure = (struct sc_pressure){0};
    random_state = 1;
    full_speed = false;
}

static void teardown(void)
{
    merging_close(&m);
    fixture_fini(&f);
}

static uint32_t any(uint32_t count)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % count;
}

/* What the directory takes. */
static uint64_t on_disk(void)
{
    uint64_t total = 0;
    DIR *dir = opendir(f.dir);
    const struct dirent *entry;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct stat stat_;
        if (fstatat(dirfd(dir), entry->d_name, &stat_, 0) == 0 && S_ISREG(stat_.st_mode)) {
            total += (uint64_t)stat_.st_blocks * 512;
        }
    }
    (void)closedir(dir);
    return total;
}

static uint64_t live(void)
{
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    return stats.live_bytes;
}

/* As the tick of a shard does. */
static void look(void)
{
    struct sc_merge_figures figures = merge_figures(&m);
    sc_pressure_look(&pressure, f.store, &figures, &space);
    sc_merge_press(m.merge, space.pressed);
    until = sc_bitcask_appended(f.store) + space.room;
}

static void put_one(uint32_t number)
{
    static uint8_t value[VALUE_SIZE];
    char key[32];
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = {key, (size_t)snprintf(key, sizeof key, "key-%06u", number)};
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice(value, sizeof value),
                                    &options, &version, &f.position, f.why),
                     SC_OK);
}

static void build_hints(void)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
}

static void check_bound(void)
{
    uint64_t disk = on_disk();
    uint64_t bound = 2 * live() + 2 * FILE_SIZE;
    ck_assert_msg(disk <= bound, "%lu bytes on disk, %lu live, bound %lu", (unsigned long)disk,
                  (unsigned long)live(), (unsigned long)bound);
}

/* Writes as much as need not wait. Returns whether all of it could be written. */
static bool write_some(uint32_t puts)
{
    for (uint32_t i = 0; i < puts; i++) {
        if (sc_bitcask_appended(f.store) > until) {
            return false;
        }
        put_one(any(KEYS));
        commit(&f);
    }
    look();
    return true;
}

static void beside(void *arg)
{
    static unsigned calls;
    (void)arg;
    if (full_speed && calls++ % BESIDE_EVERY == 0) {
        (void)write_some(LOOK_EVERY);
        check_bound();
    }
}

static void load(void)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        put_one(i);
    }
    commit(&f);
    look();
}

static void overwrite_ten_times(void)
{
    uint64_t end = sc_bitcask_appended(f.store) + 10 * live();
    uint64_t waits = 0;
    while (sc_bitcask_appended(f.store) < end) {
        bool waiting = !write_some(LOOK_EVERY);
        build_hints();
        look();
        check_bound();
        if (waiting && space.room == 0) {
            waits++;
            ck_assert_int_eq(merge_once(&m), SC_OK); /* there is something to wait for */
            look();
            check_bound();
        }
    }
    ck_assert_uint_gt(waits, 0);
}

START_TEST(overwrites_that_wait_for_merges_stay_below_the_bound)
{
    load();
    overwrite_ten_times();
}
END_TEST

START_TEST(overwrites_beside_merges_stay_below_the_bound)
{
    load();
    m.beside = beside;
    full_speed = true;
    overwrite_ten_times();
}
END_TEST

START_TEST(small_stores_wait_for_nothing)
{
    look();
    ck_assert_uint_gt(space.room, FILE_SIZE);
    ck_assert(!space.pressed);
    for (uint32_t i = 0; i < 100; i++) {
        put_one(i % 10);
    }
    commit(&f);
    look();
    ck_assert_uint_gt(space.room, FILE_SIZE);
    ck_assert(!space.pressed);
}
END_TEST

START_TEST(growing_stores_wait_for_nothing)
{
    for (uint32_t i = 0; i < 10 * KEYS; i++) {
        put_one(i);
        if (i % 1000 == 0) {
            commit(&f);
            build_hints();
            look();
            ck_assert_uint_gt(space.room, 0);
            ck_assert(!space.pressed);
        }
    }
}
END_TEST

START_TEST(who_deletes_most_of_a_store_may_go_on_as_space_is_reclaimed)
{
    for (uint32_t i = 0; i < 10 * KEYS; i++) {
        put_one(i);
    }
    commit(&f);
    build_hints();
    uint64_t removed;
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    commit(&f);
    look();
    ck_assert(space.pressed);
    ck_assert_uint_gt(space.disk, space.bound);
    ck_assert_uint_gt(space.room, 0); /* what was on disk anyway does not hold anybody up */
    uint64_t before = space.disk;
    for (int i = 0; i < 10000 && space.room > 0; i++) {
        (void)write_some(LOOK_EVERY);
    }
    ck_assert_uint_eq(space.room, 0); /* but it may not grow */
    ck_assert_uint_le(space.disk, before + FILE_SIZE / 2);
    ck_assert_int_eq(merge_once(&m), SC_OK);
    look();
    ck_assert_uint_gt(space.room, 0);
}
END_TEST

START_TEST(what_merges_cannot_reclaim_holds_nobody_up)
{
    load();
    overwrite_ten_times();
    struct sc_reap_pin pin;
    sc_reap_pin(f.store, &pin); /* a backup begins */
    full_speed = false;
    while (merge_once(&m) == SC_OK) {
    }
    look();
    ck_assert_uint_gt(on_disk(), space.disk);
    ck_assert_uint_gt(space.room, 0);
    sc_reap_unpin(f.store, &pin);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pressure");
    TCase *t = tcase_create("pressure");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, overwrites_that_wait_for_merges_stay_below_the_bound);
    tcase_add_test(t, overwrites_beside_merges_stay_below_the_bound);
    tcase_add_test(t, small_stores_wait_for_nothing);
    tcase_add_test(t, growing_stores_wait_for_nothing);
    tcase_add_test(t, who_deletes_most_of_a_store_may_go_on_as_space_is_reclaimed);
    tcase_add_test(t, what_merges_cannot_reclaim_holds_nobody_up);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
