/* Scrubber: damage is found beside traffic, noted and copied aside; passes are asked for, paced,
 * and go on after a restart. */
#include "shard/scrubber.h"

#include "common/clock.h"
#include "shard/damages.h"
#include "shard/io.h"
#include "shard/passes.h"
#include "shard/quarantine.h"
#include "shard/upkeep.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>

#define PATIENCE_MS 30000
#define RECORD_SIZE 1040u /* header 32, key 8, value 1000 */
#define RECORDS 300u

static struct fixture f;
static struct sc_sp_hub *hub;
static struct sc_committer *committer;
static struct sc_upkeep *upkeep;
static struct sc_scrubber *scrubber;

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
    if (scrubber != NULL) {
        sc_upkeep_tick(upkeep);
        sc_scrubber_tick(scrubber);
    }
}

#define AWAIT(condition)                                                        \
    do {                                                                        \
        uint64_t until = sc_clock_mono_ms() + PATIENCE_MS;                      \
        while (!(condition)) {                                                  \
            ck_assert_msg(sc_clock_mono_ms() < until, "for ever: " #condition); \
            (void)usleep(1000);                                                 \
        }                                                                       \
    } while (0)

static bool has_all_hints(void)
{
    uint64_t number;
    sc_sp_hub_lock(hub);
    bool all = !sc_bitcask_hint_pending(f.store, &number);
    sc_sp_hub_unlock(hub);
    return all;
}

static void start(uint64_t bytes_per_second)
{
    const struct sc_sp_hub_options options = {
        .message_max = 1 << 20, .on_drained = on_drained, .on_tick = on_tick};
    const struct sc_upkeep_options merging = SC_UPKEEP_OPTIONS_DEFAULT;
    struct sc_committer *new_committer;
    struct sc_upkeep *new_upkeep;
    struct sc_scrubber *new_scrubber;
    fixture_open(&f);
    ck_assert_int_eq(sc_sp_hub_open(&options, &hub, f.why), SC_OK);
    ck_assert_int_eq(sc_committer_start(hub, f.store, SC_BITCASK_SYNC_NEVER, on_committed, NULL,
                                        &new_committer, f.why),
                     SC_OK);
    ck_assert_int_eq(sc_upkeep_start(hub, f.store, new_committer, &merging, &new_upkeep, f.why),
                     SC_OK);
    ck_assert_int_eq(sc_scrubber_start(hub, f.store, bytes_per_second, &new_scrubber, f.why),
                     SC_OK);
    sc_sp_hub_lock(hub);
    committer = new_committer;
    upkeep = new_upkeep;
    scrubber = new_scrubber;
    sc_sp_hub_unlock(hub);
    AWAIT(has_all_hints());
}

static void stop(void)
{
    sc_sp_hub_lock(hub);
    struct sc_scrubber *old_scrubber = scrubber;
    struct sc_upkeep *old_upkeep = upkeep;
    struct sc_committer *old_committer = committer;
    scrubber = NULL;
    upkeep = NULL;
    committer = NULL;
    sc_sp_hub_unlock(hub);
    sc_scrubber_stop(old_scrubber);
    sc_upkeep_stop(old_upkeep);
    sc_committer_stop(old_committer);
    sc_sp_hub_close(hub, 0);
    hub = NULL;
    fixture_close(&f);
}

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.file_size_max = 64 << 10; /* some 60 records */
    fixture_open(&f);
    static char value[1001];
    memset(value, 'v', sizeof value - 1);
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%04u", i);
        put(&f, key, value);
    }
    fixture_close(&f);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    if (hub != NULL) {
        stop();
    }
    fixture_fini(&f);
}

static struct sc_scrubber_figures figures(void)
{
    struct sc_scrubber_figures now;
    sc_sp_hub_lock(hub);
    sc_scrubber_figures(scrubber, &now);
    sc_sp_hub_unlock(hub);
    return now;
}

static void ask(void)
{
    sc_sp_hub_lock(hub);
    sc_scrubber_ask(scrubber);
    sc_sp_hub_unlock(hub);
}

static void configure(uint64_t bytes_per_second)
{
    sc_sp_hub_lock(hub);
    sc_scrubber_configure(scrubber, bytes_per_second);
    sc_sp_hub_unlock(hub);
}

static void scrub(void)
{
    ask();
    AWAIT(!figures().asked);
}

static struct sc_damages_entry entry_at(size_t index)
{
    sc_sp_hub_lock(hub);
    const struct sc_damages *damages = sc_bitcask_damages(f.store);
    ck_assert_uint_lt(index, damages->count);
    struct sc_damages_entry entry = damages->entries[index];
    sc_sp_hub_unlock(hub);
    return entry;
}

static size_t known(void)
{
    sc_sp_hub_lock(hub);
    size_t count = sc_bitcask_damages(f.store)->count;
    sc_sp_hub_unlock(hub);
    return count;
}

static void flip(size_t file, unsigned record, uint64_t offset)
{
    char path[512];
    data_path(f.dir, file, path);
    file_flip(path, 64 + (uint64_t)record * RECORD_SIZE + offset, 0x20);
}

static size_t kept(void)
{
    size_t count = 0;
    for (size_t i = 0; i < known(); i++) {
        count += entry_at(i).kept ? 1 : 0;
    }
    return count;
}

START_TEST(store_is_read_without_being_asked)
{
    start(SC_SCRUBBER_RATE_DEFAULT);
    AWAIT(figures().passes == 1);
    AWAIT(figures().state == SC_SCRUBBER_IDLE);
    ck_assert_uint_ge(figures().pass.bytes_done, (uint64_t)RECORDS * RECORD_SIZE);
    ck_assert_uint_gt(figures().pass.ended_ms, 0);
    ck_assert_str_eq(figures().error, "");
    ck_assert_uint_eq(known(), 0);
    ck_assert(!sc_quarantine_has(sc_bitcask_files(f.store), &(struct sc_damage){.file = 1}));
}
END_TEST

START_TEST(damage_is_noted_and_copied_aside)
{
    start(0);
    flip(0, 5, 100);
    flip(1, 7, 20);
    scrub();
    AWAIT(kept() == 2 || known() == 0);
    ck_assert_uint_eq(kept(), 2);
    ck_assert_uint_eq(known(), 3); /* the record in the stretch too: the hint knew it */
    for (size_t i = 0; i < 3; i++) {
        struct sc_damages_entry entry = entry_at(i);
        ck_assert(!entry.kept || sc_quarantine_has(sc_bitcask_files(f.store), &entry.damage));
        ck_assert_uint_gt(entry.found_ms, 0);
    }
    scrub();
    ck_assert_uint_eq(known(), 3);
    struct sc_bitcask_stats stats;
    sc_sp_hub_lock(hub);
    sc_bitcask_stats(f.store, &stats);
    sc_sp_hub_unlock(hub);
    ck_assert_uint_eq(stats.damage, 3);
    ck_assert_uint_eq(stats.damaged_records, 3);
    /* What is whole again is forgotten; the copies stay. */
    flip(0, 5, 100);
    scrub();
    ck_assert_uint_eq(known(), 2);
}
END_TEST

START_TEST(what_was_known_is_known_after_a_restart)
{
    start(0);
    flip(0, 5, 100);
    flip(1, 7, 20);
    scrub();
    stop();
    start(0);
    AWAIT(known() == 3);
    AWAIT(kept() == 2);
    ck_assert_uint_eq(figures().passes, 0);
}
END_TEST

START_TEST(damage_that_a_reader_meets_is_copied_aside)
{
    start(0);
    flip(2, 1, 100);
    const char *value;
    char key[16];
    (void)snprintf(key, sizeof key, "key-%04u", 2 * 62 + 1);
    sc_sp_hub_lock(hub);
    enum sc_status status = SC_OK;
    for (unsigned i = 0; i < RECORDS && status == SC_OK; i++) {
        (void)snprintf(key, sizeof key, "key-%04u", i);
        status = get(&f, key, &value);
    }
    sc_sp_hub_unlock(hub);
    ck_assert_int_eq(status, SC_CORRUPT);
    AWAIT(kept() == 1);
    ck_assert_uint_eq(figures().passes, 0);
}
END_TEST

START_TEST(pass_keeps_to_its_rate_until_one_is_asked_for)
{
    start(1); /* a byte a second */
    AWAIT(figures().state == SC_SCRUBBER_READING);
    ck_assert_uint_eq(figures().passes, 0);
    scrub(); /* asked for, it is fast */
    ck_assert_uint_eq(figures().passes, 1);
    ck_assert_uint_ge(figures().pass.bytes_done, (uint64_t)RECORDS * RECORD_SIZE);
}
END_TEST

START_TEST(rate_of_zero_ends_it_and_another_takes_it_up_again)
{
    start(1);
    AWAIT(figures().state == SC_SCRUBBER_READING);
    configure(0);
    AWAIT(figures().state == SC_SCRUBBER_OFF);
    ck_assert_uint_eq(figures().passes, 0);
    configure(SC_SCRUBBER_RATE_DEFAULT);
    AWAIT(figures().passes == 1);
}
END_TEST

START_TEST(pass_goes_on_after_a_restart)
{
    start(100 << 10); /* two files in a second or so */
    AWAIT(figures().pass.interrupted);
    stop();
    fixture_open(&f);
    struct sc_passes passes = sc_passes_load(sc_bitcask_files(f.store));
    fixture_close(&f);
    ck_assert_uint_gt(passes.after, 0);
    ck_assert_uint_eq(passes.ended_ms, 0);
    start(SC_SCRUBBER_RATE_DEFAULT);
    AWAIT(figures().passes == 1);
    ck_assert_uint_lt(figures().pass.bytes_done, (uint64_t)RECORDS * RECORD_SIZE);
    ck_assert_uint_eq(figures().pass.began_ms, passes.began_ms);
    /* The next one is not due for an hour, also after a restart. */
    stop();
    start(SC_SCRUBBER_RATE_DEFAULT);
    ck_assert_uint_gt(figures().pass.ended_ms, 0);
    ck_assert_int_eq(figures().state, SC_SCRUBBER_IDLE);
    scrub();
    ck_assert_uint_eq(figures().passes, 1);
}
END_TEST

START_TEST(damaged_hint_is_built_again)
{
    char path[512];
    start(0);
    (void)snprintf(path, sizeof path, "%s/0000000001.hint", f.dir);
    AWAIT(access(path, F_OK) == 0);
    scrub();
    ck_assert_uint_eq(known(), 0);
    file_flip(path, 300, 1);
    scrub();
    AWAIT(known() == 0);
    scrub();
    ck_assert_uint_eq(known(), 0);
}
END_TEST

START_TEST(damaged_manifest_is_written_anew)
{
    char path[512];
    start(0);
    (void)snprintf(path, sizeof path, "%s/MANIFEST", f.dir);
    struct sc_buf before = file_read(path);
    file_write(path, "nothing of the kind", 19);
    scrub();
    struct sc_buf after = file_read(path);
    ck_assert_uint_ge(after.size, before.size);
    sc_buf_fini(&before);
    sc_buf_fini(&after);
    stop();
    start(0);
    ck_assert_uint_eq(f.event_count, 0);
}
END_TEST

START_TEST(full_disk_leaves_damage_noted_and_is_tried_again)
{
    start(0);
    flip(0, 5, 100);
    (void)sc_io_fault(SC_IO_WRITE, 1, ENOSPC, false);
    scrub();
    ck_assert_uint_eq(known(), 1);
    ck_assert_uint_eq(kept(), 0);
    (void)sc_io_fault(0, 0, 0, false);
    scrub();
    ck_assert_uint_eq(kept(), 1);
}
END_TEST

START_TEST(disk_that_gives_errors_is_told)
{
    start(0);
    (void)sc_io_fault(SC_IO_OPEN, 1, EACCES, false);
    scrub();
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_str_ne(figures().error, "");
    scrub();
    ck_assert_str_eq(figures().error, "");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        store_is_read_without_being_asked,
        damage_is_noted_and_copied_aside,
        what_was_known_is_known_after_a_restart,
        damage_that_a_reader_meets_is_copied_aside,
        pass_keeps_to_its_rate_until_one_is_asked_for,
        rate_of_zero_ends_it_and_another_takes_it_up_again,
        pass_goes_on_after_a_restart,
        damaged_hint_is_built_again,
        damaged_manifest_is_written_anew,
        full_disk_leaves_damage_noted_and_is_tried_again,
        disk_that_gives_errors_is_told,
    };
    Suite *suite = suite_create("scrubber");
    TCase *tcase = tcase_create("scrubber");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
