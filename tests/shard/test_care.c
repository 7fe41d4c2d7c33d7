/* What is damaged is seen to: it is merged away only when nothing older can come back for it, and
 * what was lost stays lost until somebody writes or deletes it. */
#include "shard/damages.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/random.h"
#include "tests/shard/merging.h"
#include "tests/shard/scrubbing.h"

#include <dirent.h>
#include <errno.h>

static struct fixture f;
static struct merging m;

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.file_size_max = 4096;
    merging_init(&m, &f);
    merging_open(&m);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    if (m.merge != NULL) {
        merging_close(&m);
    }
    fixture_fini(&f);
}

static void build_hints(void)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
}

/* The active file is sealed, committed and has its hint; the next has the filler only, and what
 * comes then goes into the one behind it. */
static void next_file(void)
{
    char filler[4000];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    put(&f, "filler", filler);
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    build_hints();
}

static void path_of(uint64_t file, const char *ending, char path[512])
{
    (void)snprintf(path, 512, "%s/%010d.%s", f.dir, (int)file, ending);
}

/* Where the bytes of `text` stand in a file, which must have them. */
static uint64_t find(uint64_t file, const char *text)
{
    char path[512];
    path_of(file, "data", path);
    struct sc_buf bytes = file_read(path);
    const uint8_t *at = memmem(bytes.data, bytes.size, text, strlen(text));
    ck_assert_ptr_nonnull(at);
    uint64_t offset = (uint64_t)(at - bytes.data);
    sc_buf_fini(&bytes);
    return offset;
}

static void flip(uint64_t file, uint64_t offset)
{
    char path[512];
    path_of(file, "data", path);
    file_flip(path, offset, 0x20);
}

static void spoil_value(uint64_t file, const char *value)
{
    flip(file, find(file, value));
}

/* Of the first record of the key in the file. */
static void spoil_header(uint64_t file, const char *key)
{
    flip(file, find(file, key) - 5);
}

static bool exists(uint64_t file)
{
    char path[512];
    path_of(file, "data", path);
    return access(path, F_OK) == 0;
}

static void expect_lost(const char *key)
{
    const char *value;
    enum sc_status status = get(&f, key, &value);
    ck_assert_msg(status == SC_CORRUPT, "%s: %d %s", key, status, status == SC_OK ? value : f.why);
}

/* Opens without any hint: what is known then is in the data files. */
static void reopen_bare(void)
{
    merging_close(&m);
    for (uint64_t file = 1; file < 40; file++) {
        char path[512];
        path_of(file, "hint", path);
        (void)unlink(path);
    }
    merging_open(&m);
    build_hints();
}

START_TEST(lost_value_stays_lost_through_merges_and_restarts)
{
    put(&f, "k", "older");
    put(&f, "other", "kept");
    next_file();
    put(&f, "k", "the newest");
    put(&f, "gone", "overwritten");
    next_file();
    put(&f, "gone", "newer");
    spoil_value(3, "the newest");
    scrub_with_care(&f);
    compact(&m);
    ck_assert(!exists(3));
    for (int i = 0; i < 3; i++) {
        expect_lost("k");
        expect(&f, "other", "kept");
        expect(&f, "gone", "newer");
        struct sc_bitcask_meta meta;
        struct sc_slice k = sc_slice_str("k");
        ck_assert_int_eq(sc_bitcask_meta(f.store, k, sc_slot_hash(k), &meta, &f.position, f.why),
                         SC_CORRUPT);
        put(&f, "gone", "newer");
        compact(&m);
        reopen_bare();
        ck_assert_uint_eq(f.event_count, 0);
    }
    scrub_with_care(&f);
    const struct sc_damages *damages = sc_bitcask_damages(f.store);
    ck_assert_uint_eq(damages->count, 1);
    ck_assert_int_eq(damages->entries[0].damage.kind, SC_DAMAGE_LOST);
    put(&f, "k", "written anew");
    expect(&f, "k", "written anew");
    scrub_with_care(&f);
    ck_assert_uint_eq(damages->count, 0);
    compact(&m);
    reopen_bare();
    expect(&f, "k", "written anew");
}
END_TEST

START_TEST(lost_value_can_be_deleted)
{
    put(&f, "k", "older");
    next_file();
    put(&f, "k", "the newest");
    next_file();
    spoil_value(3, "the newest");
    scrub_with_care(&f);
    compact(&m);
    ck_assert(del(&f, "k"));
    compact(&m);
    reopen_bare();
    expect(&f, "k", NULL);
}
END_TEST

START_TEST(damage_that_nobody_has_seen_to_is_not_merged)
{
    put(&f, "k", "the newest");
    put(&f, "a", "dead");
    next_file();
    put(&f, "a", "alive");
    spoil_value(1, "the newest");
    compact(&m);
    ck_assert(exists(1));
    expect_lost("k");
    /* Nor when its bytes cannot be copied aside. */
    (void)sc_io_fault(SC_IO_WRITE, 1, ENOSPC, false);
    scrub_with_care(&f);
    (void)sc_io_fault(0, 0, 0, false);
    compact(&m);
    ck_assert(exists(1));
    scrub_with_care(&f);
    compact(&m);
    ck_assert(!exists(1));
    expect_lost("k");
}
END_TEST

START_TEST(hint_stands_in_for_a_stretch)
{
    put(&f, "deleted", "must not come back");
    put(&f, "k", "older");
    put(&f, "untouched", "as it was");
    next_file();
    ck_assert(del(&f, "deleted"));
    put(&f, "k", "the newest");
    put(&f, "beside", "whole");
    next_file();
    spoil_header(3, "deleted");
    spoil_header(3, "kthe newest");
    scrub_with_care(&f);
    expect_lost("k");
    expect(&f, "deleted", NULL);
    compact(&m);
    ck_assert(!exists(3));
    for (int i = 0; i < 2; i++) {
        expect_lost("k");
        expect(&f, "deleted", NULL);
        expect(&f, "beside", "whole");
        expect(&f, "untouched", "as it was");
        reopen_bare();
        ck_assert_uint_eq(f.event_count, 0);
    }
}
END_TEST

START_TEST(hint_stands_in_for_a_clear)
{
    uint64_t removed;
    put(&f, "cleared", "must not come back");
    next_file();
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    put(&f, "first", "after the clear");
    next_file();
    flip(3, 64 + 12);
    scrub_with_care(&f);
    /* Only the file with the clear: the other one keeps what it hides. */
    m.options.dead_percent = 100;
    merging_reopen(&m);
    scrub_with_care(&f);
    compact(&m);
    reopen_bare();
    expect(&f, "cleared", NULL);
    expect(&f, "first", "after the clear");
}
END_TEST

START_TEST(hint_stands_in_for_a_missing_end)
{
    char path[512];
    put(&f, "deleted", "must not come back");
    put(&f, "k", "older");
    next_file();
    put(&f, "whole", "value");
    put(&f, "k", "the newest");
    ck_assert(del(&f, "deleted"));
    next_file();
    uint64_t at = find(3, "the newest");
    path_of(3, "data", path);
    for (uint64_t size = at - 30; size <= at + 4; size += 17) { /* in header, key and value */
        char copy[600];
        (void)snprintf(copy, sizeof copy, "%s.copy", f.dir);
        merging_close(&m);
        dir_copy(f.dir, copy);
        ck_assert_int_eq(truncate(path, (off_t)size), 0);
        merging_open(&m);
        expect_lost("k");
        expect(&f, "deleted", NULL);
        scrub_with_care(&f);
        compact(&m);
        ck_assert(!exists(3));
        reopen_bare();
        ck_assert_uint_eq(f.event_count, 0);
        expect_lost("k");
        expect(&f, "deleted", NULL);
        expect(&f, "whole", "value");
        merging_close(&m);
        dir_remove(f.dir);
        ck_assert_int_eq(rename(copy, f.dir), 0);
        merging_open(&m);
    }
}
END_TEST

START_TEST(stretch_in_a_file_without_its_end_is_known_by_the_hint_too)
{
    char path[512];
    put(&f, "deleted", "must not come back");
    put(&f, "j", "older");
    put(&f, "k", "older");
    next_file();
    ck_assert(del(&f, "deleted"));
    put(&f, "j", "newest of j");
    put(&f, "whole", "value");
    put(&f, "k", "newest of k");
    next_file();
    spoil_header(3, "deleted");
    spoil_header(3, "jnewest of j");
    path_of(3, "data", path);
    ck_assert_int_eq(truncate(path, (off_t)find(3, "newest of k")), 0);
    merging_reopen(&m);
    scrub_with_care(&f);
    compact(&m);
    ck_assert(!exists(3));
    reopen_bare();
    ck_assert_uint_eq(f.event_count, 0);
    expect_lost("j");
    expect_lost("k");
    expect(&f, "deleted", NULL);
    expect(&f, "whole", "value");
}
END_TEST

START_TEST(stretch_that_no_hint_knows_is_not_merged)
{
    char path[512];
    put(&f, "k", "the newest");
    put(&f, "a", "dead");
    next_file();
    put(&f, "a", "alive");
    merging_close(&m);
    path_of(1, "hint", path);
    ck_assert_int_eq(unlink(path), 0);
    spoil_header(1, "kthe newest");
    merging_open(&m);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1); /* told at every opening */
        scrub_with_care(&f);
        compact(&m);
        ck_assert(exists(1));
        expect(&f, "a", "alive");
        merging_reopen(&m);
    }
}
END_TEST

/* The keydir was filled without it: by that keydir the newest record would be judged dead. */
START_TEST(hint_that_can_be_read_again_later_is_not_believed_before_a_restart)
{
    char path[512];
    put(&f, "k", "older");
    next_file();
    put(&f, "k", "the newest");
    put(&f, "dead", "1");
    next_file();
    del(&f, "dead");
    merging_close(&m);
    path_of(3, "hint", path);
    struct sc_buf hint = file_read(path);
    file_flip(path, hint.size - 1, 0x20);
    spoil_header(3, "kthe newest");
    merging_open(&m);
    ck_assert_int_eq(access(path, F_OK), 0); /* all that knows of the record is kept */
    file_write(path, hint.data, hint.size);
    sc_buf_fini(&hint);
    scrub_with_care(&f);
    compact(&m);
    ck_assert(exists(3));
    merging_reopen(&m);
    expect_lost("k");
    scrub_with_care(&f);
    compact(&m);
    expect_lost("k");
}
END_TEST

START_TEST(newest_record_that_vanished_is_not_replaced_by_an_older_one)
{
    put(&f, "k", "older");
    put(&f, "j", "older");
    put(&f, "k", "the newest");
    put(&f, "j", "the newest too");
    put(&f, "i", "whole");
    spoil_header(1, "kthe newest");
    spoil_header(1, "jthe newest too");
    expect_lost("k");
    scrub_with_care(&f); /* the active file: there is no hint */
    for (int i = 0; i < 3; i++) {
        expect_lost("k");
        expect_lost("j");
        expect(&f, "i", "whole");
        merging_kill(&m);
        merging_open(&m);
    }
    put(&f, "k", "written anew");
    merging_kill(&m);
    merging_open(&m);
    expect(&f, "k", "written anew");
    expect_lost("j");
}
END_TEST

START_TEST(rescue_is_tried_again_when_the_disk_is_full)
{
    put(&f, "k", "older");
    put(&f, "k", "the newest");
    spoil_header(1, "kthe newest");
    char filler[3000];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    put(&f, "filler", filler); /* the next record needs a new file */
    (void)sc_io_fault(SC_IO_ALLOCATE, 1, ENOSPC, false);
    put(&f, "filler", "short");
    scrub_with_care(&f);
    (void)sc_io_fault(0, 0, 0, false);
    expect_lost("k");
    scrub_with_care(&f);
    merging_kill(&m);
    merging_open(&m);
    expect_lost("k");
}
END_TEST

/* ---- Any damage, in any order ---- */

#define KEYS 30

static struct test_random randomness;

static unsigned any(unsigned below)
{
    return (unsigned)test_random_below(&randomness, below);
}

/* Every key has its newest value, or is lost; what was deleted stays so. */
static unsigned judge(char values[KEYS][32])
{
    unsigned count = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        const char *value;
        (void)snprintf(key, sizeof key, "key-%02d", i);
        enum sc_status status = get(&f, key, &value);
        if (status == SC_CORRUPT) {
            ck_assert_msg(values[i][0] != '\0', "%s was deleted, and answers corrupt", key);
            count++;
        } else if (values[i][0] == '\0') {
            ck_assert_msg(status == SC_NOTFOUND, "%s is back: %s", key, value);
        } else {
            ck_assert_msg(status == SC_OK, "%s: %d %s", key, status, f.why);
            ck_assert_msg(strcmp(value, values[i]) == 0, "%s has %s instead of %s", key, value,
                          values[i]);
        }
    }
    return count;
}

static void flip_somewhere(void)
{
    char path[512];
    size_t files = data_files(f.dir);
    if (files < 3) {
        return;
    }
    data_path(f.dir, any((unsigned)files - 2), path); /* not the active one, nor the next */
    char hint[512];
    (void)snprintf(hint, sizeof hint, "%.*s.hint", (int)(strrchr(path, '.') - path), path);
    struct sc_buf bytes = file_read(path);
    if (access(hint, F_OK) == 0 && bytes.size > 100) {
        file_flip(path, 64 + any((unsigned)bytes.size - 64), (uint8_t)(1 << any(8)));
    }
    sc_buf_fini(&bytes);
}

START_TEST(nothing_old_comes_back_whatever_is_damaged)
{
    unsigned lost_ever = 0;
    randomness = test_random_start("care");
    const char *given = getenv("SC_TEST_RUNS");
    unsigned rounds = given != NULL ? (unsigned)strtoul(given, NULL, 0) : 20;
    for (unsigned round = 0; round < rounds; round++) {
        char values[KEYS][32] = {{0}};
        for (unsigned step = 0; step < 150; step++) {
            unsigned i = any(KEYS);
            char key[16];
            (void)snprintf(key, sizeof key, "key-%02u", i);
            switch (any(12)) {
            case 0:
            case 1:
                (void)del(&f, key);
                values[i][0] = '\0';
                break;
            case 2:
                next_file();
                flip_somewhere();
                break;
            case 3:
                scrub_with_care(&f);
                break;
            case 4:
                build_hints();
                merge_all(&m);
                build_hints();
                break;
            case 5:
                next_file(); /* so that all that matters has a hint */
                merging_reopen(&m);
                build_hints();
                break;
            default:
                (void)snprintf(values[i], sizeof values[i], "value %u of %u", step, i);
                put(&f, key, values[i]);
                break;
            }
            if (step % 10 == 0) {
                lost_ever += judge(values);
            }
        }
        scrub_with_care(&f);
        compact(&m);
        (void)judge(values);
        merging_close(&m);
        fixture_fini(&f);
        setup();
    }
    ck_assert_uint_gt(lost_ever, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lost_value_stays_lost_through_merges_and_restarts,
        lost_value_can_be_deleted,
        damage_that_nobody_has_seen_to_is_not_merged,
        hint_stands_in_for_a_stretch,
        hint_stands_in_for_a_clear,
        hint_stands_in_for_a_missing_end,
        stretch_in_a_file_without_its_end_is_known_by_the_hint_too,
        stretch_that_no_hint_knows_is_not_merged,
        hint_that_can_be_read_again_later_is_not_believed_before_a_restart,
        newest_record_that_vanished_is_not_replaced_by_an_older_one,
        rescue_is_tried_again_when_the_disk_is_full,
        nothing_old_comes_back_whatever_is_damaged,
    };
    Suite *suite = suite_create("care");
    TCase *tcase = tcase_create("care");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
