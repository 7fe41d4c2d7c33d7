/* Merging: what goes, what stays, and what must never come back. */
#include "tests/shard/merging.h"

#include "shard/bitcask_impl.h"
#include "shard/io.h"
#include "shard/record.h"
#include "tests/check_main.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

static struct fixture f;
static struct merging m;

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = 4096;
    merging_init(&m, &f);
    merging_open(&m);
}

static void teardown(void)
{
    sc_io_fault(0, 0, 0, false);
    sc_clock_shift(0);
    sc_merge_free(m.merge);
    fixture_fini(&f);
}

/* ---- Words ---- */

static struct sc_bitcask_stats stats(void)
{
    struct sc_bitcask_stats figures;
    sc_bitcask_stats(f.store, &figures);
    return figures;
}

static void put_n(const char *format, int n, const char *value)
{
    char key[64];
    (void)snprintf(key, sizeof key, format, n);
    (void)put(&f, key, value);
}

static void expect_n(const char *format, int n, const char *value)
{
    char key[64];
    (void)snprintf(key, sizeof key, format, n);
    expect(&f, key, value);
}

/* Goes on to another data file. */
static void next_file(void)
{
    static const char filler[1000];
    size_t files = data_files(f.dir);
    for (int i = 0; data_files(f.dir) == files || i < 5; i++) {
        struct sc_slice key = sc_slice_str("filler");
        const struct sc_bitcask_write options = {0};
        uint64_t version;
        ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice(filler, 1000),
                                        &options, &version, &f.position, f.why),
                         SC_OK);
        commit(&f);
        ck_assert_int_lt(i, 20);
    }
}

static void put_ttl(const char *key, const char *value, uint64_t ttl_ms)
{
    struct sc_slice k = sc_slice_str(key);
    const struct sc_bitcask_write options = {.ttl_ms = &ttl_ms};
    uint64_t version;
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(value), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    commit(&f);
}

static struct sc_bitcask_meta meta_of(const char *key)
{
    struct sc_slice k = sc_slice_str(key);
    struct sc_bitcask_meta meta;
    ck_assert_int_eq(sc_bitcask_meta(f.store, k, sc_slot_hash(k), &meta, &f.position, f.why),
                     SC_OK);
    return meta;
}

/* Waits until a key has expired and removes it from the keydir. */
static void sweep(const char *key)
{
    struct sc_slice k = sc_slice_str(key);
    for (int i = 0; sc_bitcask_exists(f.store, k, sc_slot_hash(k), &f.position) == SC_OK; i++) {
        ck_assert_int_lt(i, 5000);
        (void)usleep(1000);
    }
    ck_assert_uint_ge(sc_bitcask_sweep(f.store, SC_SLOT_COUNT), 1);
}

/* ---- What a merge does ---- */

START_TEST(overwritten_records_go_and_live_ones_stay)
{
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 50; i++) {
            char value[64];
            (void)snprintf(value, sizeof value, "round %d key %d", round, i);
            put_n("key-%d", i, value);
        }
    }
    uint64_t before = stats().file_bytes;
    compact(&m);
    ck_assert_uint_lt(stats().file_bytes, before / 4);
    ck_assert_uint_eq(stats().dead_bytes, 0);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 50; i++) {
            char value[64];
            (void)snprintf(value, sizeof value, "round 9 key %d", i);
            expect_n("key-%d", i, value);
        }
        merging_reopen(&m);
        ck_assert_uint_eq(f.event_count, 0);
    }
}
END_TEST

START_TEST(version_and_expiry_are_kept)
{
    uint64_t version = put(&f, "kept", "value");
    put_ttl("mortal", "value", 3600000);
    struct sc_bitcask_meta mortal = meta_of("mortal");
    (void)put(&f, "dead", "1");
    (void)put(&f, "dead", "2");
    compact(&m);
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_uint_eq(meta_of("kept").version, version);
        ck_assert(!meta_of("kept").has_ttl);
        ck_assert_uint_eq(meta_of("mortal").version, mortal.version);
        ck_assert(meta_of("mortal").has_ttl && meta_of("mortal").ttl_ms <= mortal.ttl_ms &&
                  meta_of("mortal").ttl_ms > mortal.ttl_ms - 60000);
        merging_reopen(&m);
    }
}
END_TEST

/* pybitcask 7: null values were dropped. */
START_TEST(values_of_all_kinds_are_kept)
{
    static const struct {
        const char *key;
        const char *bytes;
        size_t size;
    } values[] = {
        {"nil", "\xc0", 1},          {"false", "\xc2", 1},
        {"empty string", "\xa0", 1}, {"empty array", "\x90", 1},
        {"zero", "\0", 1},           {"tombstone text", "bitcask_tombstone", 17},
    };
    const size_t count = sizeof values / sizeof *values;
    const struct sc_bitcask_write options = {0};
    for (size_t i = 0; i < count; i++) {
        struct sc_slice key = sc_slice_str(values[i].key);
        uint64_t version;
        ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key),
                                        sc_slice(values[i].bytes, values[i].size), &options,
                                        &version, &f.position, f.why),
                         SC_OK);
    }
    next_file();
    compact(&m);
    merging_reopen(&m);
    for (size_t i = 0; i < count; i++) {
        struct sc_slice key = sc_slice_str(values[i].key);
        struct sc_buf value = {0};
        ck_assert_int_eq(
            sc_bitcask_get(f.store, key, sc_slot_hash(key), &value, &f.position, f.why), SC_OK);
        ck_assert(sc_slice_equal(sc_buf_slice(&value), sc_slice(values[i].bytes, values[i].size)));
        sc_buf_fini(&value);
    }
}
END_TEST

/* pybitcask 9: files grew for ever. */
START_TEST(disk_use_under_overwrites_is_bounded)
{
    static char value[2000];
    const uint64_t live = 100 * sc_record_size(8, sizeof value);
    uint64_t most = 0;
    memset(value, 'x', sizeof value - 1);
    m.options = (struct sc_merge_options){.dead_percent = SC_MERGE_DEAD_PERCENT_DEFAULT,
                                          .dead_bytes_min = 4096};
    f.options.file_size_max = 32768;
    merging_reopen(&m);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++) {
            put_n("key-%04d", round % 2 == 0 ? i : (i * 37 + round) % 100, value);
            while (sc_merge_wanted(m.merge)) {
                ck_assert_int_eq(merge_once(&m), SC_OK);
            }
            uint64_t now = stats().file_bytes;
            most = now > most ? now : most;
        }
    }
    ck_assert_uint_le(most, 2 * live + 2 * f.options.file_size_max);
    /* Nothing but these files is left behind in the directory. */
    ck_assert_uint_eq(data_files(f.dir), stats().files);
}
END_TEST

/* Basho #205. */
START_TEST(what_cannot_be_improved_is_not_merged_again)
{
    for (int i = 0; i < 200; i++) {
        put_n("key-%d", i % 100, "value");
    }
    compact(&m);
    uint64_t merges = merge_figures(&m).merges;
    merge_all(&m);
    ck_assert_uint_eq(merge_figures(&m).merges, merges);
    merging_reopen(&m);
    merge_all(&m);
    ck_assert_uint_eq(merge_figures(&m).merges, 0);
}
END_TEST

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

/* Basho #114, #131, #255: handles of merged files were leaked. */
START_TEST(file_indexes_and_descriptors_are_used_again)
{
    unsigned descriptors = open_descriptors();
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 40; i++) {
            put_n("key-%d", i, "a value of some length, so that files fill up");
        }
        merge_all(&m);
    }
    ck_assert_uint_gt(merge_figures(&m).merges, 50);
    ck_assert_uint_lt(stats().files, 10);
    ck_assert_uint_lt(open_descriptors(), descriptors + 10);
    merging_reopen(&m);
    for (int i = 0; i < 40; i++) {
        expect_n("key-%d", i, "a value of some length, so that files fill up");
    }
}
END_TEST

/* ---- Deletions ---- */

START_TEST(deletions_and_what_they_hide_go_together)
{
    for (int i = 0; i < 300; i++) {
        put_n("key-%d", i, "value");
    }
    for (int i = 0; i < 300; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "key-%d", i);
        ck_assert(del(&f, key));
    }
    compact(&m);
    ck_assert_uint_eq(stats().tombstones, 0);
    ck_assert_uint_eq(stats().live_bytes, 0);
    ck_assert_uint_le(stats().file_bytes, 200);
    merging_reopen(&m);
    ck_assert_uint_eq(stats().keys, 0);
}
END_TEST

/* Basho #82, #102, #128, #148, #156: a merge of some files dropped the tombstone, and a file that
 * was not part of it still had the record. */
START_TEST(tombstone_stays_while_another_file_has_the_record)
{
    (void)put(&f, "deleted", "old");
    for (int i = 0; i < 20; i++) {
        put_n("cold-%d", i, "these keep their file from being worth a merge, the more the better");
    }
    next_file();
    ck_assert(del(&f, "deleted"));
    for (int i = 0; i < 60; i++) {
        (void)put(&f, "hot", "this makes the file with the tombstone worth it");
    }
    next_file();
    m.options.dead_percent = 50;
    sc_merge_configure(m.merge, &m.options);
    merge_all(&m);
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    ck_assert_uint_ge(stats().tombstones, 1);
    expect(&f, "deleted", NULL);
    merging_reopen(&m);
    expect(&f, "deleted", NULL);
    compact(&m);
    ck_assert_uint_eq(stats().tombstones, 0);
    merging_reopen(&m);
    expect(&f, "deleted", NULL);
}
END_TEST

/* The same with a merge in between that moves the old record to a file with a higher number. */
START_TEST(tombstone_stays_while_a_younger_file_has_the_older_record)
{
    (void)put(&f, "deleted", "old");
    for (int i = 0; i < 25; i++) {
        put_n("cold-%d", i, "these stay, and their file is larger than what is dead in it");
    }
    (void)put(&f, "other", "1");
    (void)put(&f, "other", "2");
    next_file();
    merge_all(&m); /* `deleted` is in an output now */
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    ck_assert(del(&f, "deleted"));
    for (int i = 0; i < 60; i++) {
        (void)put(&f, "hot", "this makes the file with the tombstone worth it");
    }
    next_file();
    m.options.dead_percent = 50;
    sc_merge_configure(m.merge, &m.options);
    merge_all(&m);
    expect(&f, "deleted", NULL);
    merging_reopen(&m);
    expect(&f, "deleted", NULL);
}
END_TEST

/* The clock was ahead when a merge wrote the old record, and is right again after a start: the
 * deletion must not seem to be older than that merge, which got no deleted records. */
START_TEST(tombstone_stays_when_the_clock_was_set_back_after_a_merge)
{
    (void)put(&f, "deleted", "old");
    for (int i = 0; i < 25; i++) {
        put_n("cold-%d", i, "these stay, and their file is larger than what is dead in it");
    }
    next_file();
    (void)put(&f, "other", "1");
    sc_clock_observe(&f.store->clock, sc_clock_wall_us() + UINT64_C(3600000000));
    ck_assert(del(&f, "other")); /* the newest version, which goes with the merge */
    compact(&m); /* `deleted` is in an output now */
    ck_assert_uint_eq(stats().tombstones, 0);
    merging_reopen(&m);
    ck_assert(del(&f, "deleted"));
    for (int i = 0; i < 60; i++) {
        (void)put(&f, "hot", "this makes the file with the tombstone worth it");
    }
    next_file();
    m.options.dead_percent = 50;
    sc_merge_configure(m.merge, &m.options);
    uint64_t merges = merge_figures(&m).merges;
    merge_all(&m);
    ck_assert_uint_gt(merge_figures(&m).merges, merges);
    expect(&f, "deleted", NULL);
    merging_reopen(&m);
    expect(&f, "deleted", NULL);
}
END_TEST

/* Not even when nothing is left of all that was written. */
START_TEST(versions_go_on_when_the_clock_was_set_back_after_a_merge)
{
    sc_clock_shift(INT64_C(3600000000));
    uint64_t version = put(&f, "key", "value");
    ck_assert(del(&f, "key"));
    compact(&m);
    ck_assert_uint_le(stats().file_bytes, 200);
    sc_clock_shift(0);
    merging_kill(&m);
    merging_open(&m);
    ck_assert_uint_gt(put(&f, "key", "value"), version + 1);
}
END_TEST

START_TEST(clear_stays_while_another_file_has_records)
{
    uint64_t removed;
    for (int i = 0; i < 20; i++) {
        put_n("old-%d", i, "value");
    }
    next_file();
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    commit(&f);
    for (int i = 0; i < 80; i++) {
        (void)put(&f, "hot", "this makes the file with the range deletion worth it");
    }
    next_file();
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_ne(merge_once(&m), SC_IO);
        merging_kill(&m);
        merging_open(&m);
        for (int i = 0; i < 20; i++) {
            expect_n("old-%d", i, NULL);
        }
        ck_assert_uint_eq(stats().keys, 2);
    }
    compact(&m);
    ck_assert_uint_eq(stats().tombstones, 0);
    merging_reopen(&m);
    ck_assert_uint_eq(stats().keys, 2);
}
END_TEST

/* Basho #196: tombstones were never reclaimed as long as there was one old file. */
START_TEST(churn_does_not_pile_up_tombstones)
{
    m.options = (struct sc_merge_options){.dead_percent = SC_MERGE_DEAD_PERCENT_DEFAULT,
                                          .dead_bytes_min = 4096};
    f.options.file_size_max = 16384;
    merging_reopen(&m);
    for (int i = 0; i < 200; i++) {
        put_n("cold-%d", i, "stays for ever");
    }
    uint64_t most = 0;
    for (int i = 0; i < 4000; i++) {
        char key[64];
        put_n("cold-%d", i % 7, "now and then one of them is written");
        (void)snprintf(key, sizeof key, "session-%d", i);
        (void)put(&f, key, "v");
        ck_assert(del(&f, key));
        while (sc_merge_wanted(m.merge)) {
            ck_assert_int_eq(merge_once(&m), SC_OK);
        }
        uint64_t now = stats().file_bytes;
        most = now > most ? now : most;
    }
    ck_assert_uint_le(most, 8 * f.options.file_size_max);
    merging_reopen(&m);
    ck_assert_uint_eq(stats().keys, 200);
}
END_TEST

START_TEST(deleted_again_and_again_stays_deleted)
{
    for (int round = 0; round < 6; round++) {
        (void)put(&f, "key", "value");
        next_file();
        ck_assert(del(&f, "key"));
        next_file();
        (void)merge_once(&m);
        expect(&f, "key", NULL);
        merging_kill(&m);
        merging_open(&m);
        expect(&f, "key", NULL);
    }
}
END_TEST

/* ---- Expiry ---- */

START_TEST(swept_record_still_hides_an_older_one)
{
    (void)put(&f, "key", "without expiry");
    for (int i = 0; i < 20; i++) {
        put_n("cold-%d", i, "these keep their file from being worth a merge, the more the better");
    }
    next_file();
    put_ttl("key", "with expiry", 20);
    for (int i = 0; i < 60; i++) {
        (void)put(&f, "hot", "this makes the file with the expired record worth it");
    }
    next_file();
    sweep("key");
    m.options.dead_percent = 50;
    sc_merge_configure(m.merge, &m.options);
    merge_all(&m);
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    expect(&f, "key", NULL);
    merging_reopen(&m);
    expect(&f, "key", NULL);
    compact(&m);
    ck_assert_uint_eq(stats().tombstones, 0);
    merging_reopen(&m);
    expect(&f, "key", NULL);
}
END_TEST

/* rosedb #297: expired records kept their disk space. */
START_TEST(expired_bytes_are_reclaimed)
{
    for (int i = 0; i < 100; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "mortal-%d", i);
        put_ttl(key, "a value that is going to expire", 20);
    }
    next_file();
    sweep("mortal-99");
    uint64_t before = stats().file_bytes;
    compact(&m);
    ck_assert_uint_lt(stats().file_bytes, before / 2);
    ck_assert_uint_eq(stats().keys, 1);
}
END_TEST

/* ---- Beside traffic ---- */

static int beside_step;

static void write_beside(void *arg)
{
    (void)arg;
    switch (beside_step++ % 4) {
    case 0:
        put_n("key-%d", beside_step % 100, "written beside");
        break;
    case 1: {
        char key[64];
        (void)snprintf(key, sizeof key, "key-%d", beside_step * 7 % 100);
        (void)del(&f, key);
        break;
    }
    default:
        break;
    }
}

/* What is written or deleted beside a merge neither comes back nor is lost. */
START_TEST(writes_beside_a_merge_win)
{
    bool present[100];
    const char *found;
    f.options.file_size_max = 65536;
    merging_reopen(&m);
    for (int i = 0; i < 3000; i++) {
        put_n("key-%d", i % 100, "before, with some length so that there are several slices of it");
    }
    m.beside = write_beside;
    compact(&m);
    m.beside = NULL;
    ck_assert_int_gt(beside_step, 50);
    for (int i = 0; i < 100; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "key-%d", i);
        present[i] = get(&f, key, &found) == SC_OK;
    }
    uint64_t live = stats().live_bytes;
    for (int turn = 0; turn < 2; turn++) {
        merging_reopen(&m);
        ck_assert_uint_eq(stats().live_bytes, live);
        for (int i = 0; i < 100; i++) {
            char key[64];
            (void)snprintf(key, sizeof key, "key-%d", i);
            ck_assert_int_eq(get(&f, key, &found) == SC_OK, present[i]);
        }
        compact(&m);
    }
}
END_TEST

START_TEST(stopped_merge_leaves_nothing_behind)
{
    f.options.file_size_max = 65536;
    merging_reopen(&m);
    for (int i = 0; i < 3000; i++) {
        put_n("key-%d", i % 1000, "value");
    }
    for (uint64_t stop = 1; stop < 40; stop++) {
        m.stop_after = stop;
        m.proceeded = 0;
        sc_merge_ask(m.merge);
        enum sc_status status = merge_once(&m);
        if (status == SC_OK) {
            break;
        }
        ck_assert_int_eq(status, SC_UNAVAILABLE);
        ck_assert_uint_eq(data_files(f.dir), stats().files);
    }
    m.stop_after = 0;
    compact(&m);
    for (int i = 0; i < 1000; i++) {
        expect_n("key-%d", i, "value");
    }
}
END_TEST

/* As soon as the merge has made a file to go on with, writers go on to a younger one, and the merge
 * is asked for again. */
static void overtake(void *arg)
{
    const struct sc_writer *writer = &f.store->writer;
    size_t *files = arg;
    size_t before = *files;
    *files = data_files(f.dir);
    if (before == 0 || *files == before) {
        return;
    }
    uint64_t number = writer->active->number;
    while (writer->active->number < number + 2 || writer->next != NULL ||
           sc_segment_dead_bytes(writer->active) == 0) {
        char value[500];
        memset(value, 'v', sizeof value);
        value[sizeof value - 1] = '\0';
        (void)put(&f, "filler", value);
    }
    sc_merge_ask(m.merge);
    m.beside = NULL;
}

START_TEST(files_are_filled_in_their_order_when_writers_overtake_a_merge)
{
    for (int i = 0; i < 20; i++) {
        put_n("key-%d", i % 5, "value");
    }
    size_t files = 0;
    m.beside = overtake;
    m.arg = &files;
    compact(&m);
    ck_assert(m.beside == NULL);
    merging_reopen(&m);
    for (int i = 0; i < 5; i++) {
        expect_n("key-%d", i, "value");
    }
}
END_TEST

/* ---- Damage and failing calls ---- */

/* pybitcask 4 and 7, bitcaskd: a file was unlinked though not all of it had been read. */
START_TEST(damaged_file_is_never_removed)
{
    for (int i = 0; i < 300; i++) {
        put_n("key-%d", i, "value");
    }
    for (int i = 0; i < 300; i += 2) {
        put_n("key-%d", i, "newer");
    }
    commit(&f);
    char path[512];
    data_path(f.dir, 1, path);
    file_flip(path, 1000, 4);
    compact(&m);
    struct stat stat_of;
    ck_assert_int_eq(stat(path, &stat_of), 0);
    ck_assert_uint_ge(merge_figures(&m).merges, 1);
    unsigned lost = 0;
    for (int turn = 0; turn < 2; turn++) {
        lost = 0;
        for (int i = 0; i < 300; i++) {
            char key[64];
            const char *found;
            (void)snprintf(key, sizeof key, "key-%d", i);
            enum sc_status status = get(&f, key, &found);
            lost += status != SC_OK ? 1 : 0;
            ck_assert(status != SC_OK || strcmp(found, i % 2 == 0 ? "newer" : "value") == 0);
        }
        ck_assert_uint_le(lost, 2);
        merging_kill(&m);
        merging_open(&m);
        ck_assert_uint_ge(stats().damaged_records, turn == 0 ? 0 : 1);
        compact(&m);
        ck_assert_int_eq(stat(path, &stat_of), 0);
    }
}
END_TEST

/* A value that is damaged keeps answering so, and its older value does not come back. */
START_TEST(damaged_value_is_still_known_after_a_merge)
{
    (void)put(&f, "key", "older value");
    next_file();
    (void)put(&f, "key", "newer value");
    size_t file = data_files(f.dir) - 1;
    next_file();
    char path[512];
    data_path(f.dir, file, path);
    struct sc_buf bytes = file_read(path);
    const uint8_t *at = memmem(bytes.data, bytes.size, "newer value", 11);
    if (at == NULL) {
        data_path(f.dir, file - 1, path);
        sc_buf_fini(&bytes);
        bytes = file_read(path);
        at = memmem(bytes.data, bytes.size, "newer value", 11);
    }
    ck_assert_ptr_nonnull(at);
    file_flip(path, (uint64_t)(at - bytes.data), 1);
    sc_buf_fini(&bytes);
    compact(&m);
    const char *found;
    ck_assert_int_eq(get(&f, "key", &found), SC_CORRUPT);
    merging_reopen(&m);
    ck_assert_int_eq(get(&f, "key", &found), SC_CORRUPT);
}
END_TEST

/* Every call of a merge fails once: the store goes on, and all is there, then and after a start. */
START_TEST(failing_calls_change_nothing)
{
    f.options.file_size_max = 16384;
    merging_reopen(&m);
    for (int i = 0; i < 600; i++) {
        put_n("key-%d", i % 150, "value");
    }
    const int errors[] = {EIO, ENOSPC};
    unsigned failed = 0;
    for (uint64_t countdown = 1; countdown < 400; countdown++) {
        put_n("key-%d", (int)countdown % 150, "value");
        next_file();
        sc_merge_ask(m.merge);
        (void)sc_io_fault(SC_IO_ANY & ~SC_IO_SYNC, countdown, errors[countdown % 2], true);
        enum sc_status status = merge_once(&m);
        uint64_t calls = sc_io_fault(0, 0, 0, false);
        failed += status != SC_OK ? 1 : 0;
        if (sc_bitcask_failed(f.store) != NULL) {
            merging_kill(&m); /* the log's own write failed */
            merging_open(&m);
        }
        for (int i = 0; i < 150; i += 10) {
            expect_n("key-%d", i, "value");
        }
        if (calls < countdown) {
            break;
        }
        ck_assert_uint_lt(countdown, 399);
    }
    ck_assert_uint_gt(failed, 5);
    merging_reopen(&m);
    compact(&m);
    for (int i = 0; i < 150; i++) {
        expect_n("key-%d", i, "value");
    }
    merging_reopen(&m);
    ck_assert_uint_eq(data_files(f.dir), stats().files);
}
END_TEST

/* After the manifest was replaced the keydir is moved by the hint of the output; a key for which
 * that fails is read from the old file, and the output has the only copy that the next start finds.
 */
START_TEST(output_that_the_keydir_was_not_moved_to_is_kept)
{
    bool failed = false;
    for (uint64_t countdown = 1; !failed; countdown++) {
        for (int i = 0; i < 100; i++) {
            put_n("key-%d", i % 50, "value");
        }
        sc_merge_ask(m.merge);
        (void)sc_io_fault(SC_IO_OPEN, countdown, EMFILE, true);
        enum sc_status status = merge_once(&m);
        failed = sc_io_fault(0, 0, 0, false) < countdown;
        if (status != SC_OK) {
            merge_all(&m);
            continue;
        }
        for (int i = 0; i < 50; i += 3) {
            put_n("key-%d", i, "value");
        }
        compact(&m);
        merging_kill(&m);
        merging_open(&m);
        for (int i = 0; i < 50; i++) {
            expect_n("key-%d", i, "value");
        }
        compact(&m);
        ck_assert_uint_eq(data_files(f.dir), stats().files);
    }
}
END_TEST

START_TEST(full_disk_is_reported_and_tried_again)
{
    for (int i = 0; i < 300; i++) {
        put_n("key-%d", i % 50, "value");
    }
    sc_merge_ask(m.merge);
    (void)sc_io_fault(SC_IO_ALLOCATE, 1, ENOSPC, false);
    ck_assert_int_eq(merge_once(&m), SC_IO);
    ck_assert_uint_eq(merge_figures(&m).failures, 1);
    ck_assert_ptr_nonnull(strstr(merge_figures(&m).error, "No space left"));
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_ptr_null(sc_bitcask_failed(f.store));
    merge_all(&m);
    ck_assert_str_eq(merge_figures(&m).error, "");
    expect(&f, "key-7", "value");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("merge");
    TCase *t = tcase_create("merge");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, overwritten_records_go_and_live_ones_stay);
    tcase_add_test(t, version_and_expiry_are_kept);
    tcase_add_test(t, values_of_all_kinds_are_kept);
    tcase_add_test(t, disk_use_under_overwrites_is_bounded);
    tcase_add_test(t, what_cannot_be_improved_is_not_merged_again);
    tcase_add_test(t, file_indexes_and_descriptors_are_used_again);
    tcase_add_test(t, deletions_and_what_they_hide_go_together);
    tcase_add_test(t, tombstone_stays_while_another_file_has_the_record);
    tcase_add_test(t, tombstone_stays_while_a_younger_file_has_the_older_record);
    tcase_add_test(t, tombstone_stays_when_the_clock_was_set_back_after_a_merge);
    tcase_add_test(t, versions_go_on_when_the_clock_was_set_back_after_a_merge);
    tcase_add_test(t, clear_stays_while_another_file_has_records);
    tcase_add_test(t, churn_does_not_pile_up_tombstones);
    tcase_add_test(t, deleted_again_and_again_stays_deleted);
    tcase_add_test(t, swept_record_still_hides_an_older_one);
    tcase_add_test(t, expired_bytes_are_reclaimed);
    tcase_add_test(t, writes_beside_a_merge_win);
    tcase_add_test(t, stopped_merge_leaves_nothing_behind);
    tcase_add_test(t, files_are_filled_in_their_order_when_writers_overtake_a_merge);
    tcase_add_test(t, damaged_file_is_never_removed);
    tcase_add_test(t, damaged_value_is_still_known_after_a_merge);
    tcase_add_test(t, failing_calls_change_nothing);
    tcase_add_test(t, output_that_the_keydir_was_not_moved_to_is_kept);
    tcase_add_test(t, full_disk_is_reported_and_tried_again);
    suite_add_tcase(s, t);
    return sc_check_main(s);
}
