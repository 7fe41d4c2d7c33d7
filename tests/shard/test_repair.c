/* Offline: every kind of damage is found by a check, and a repair makes the directory whole, or
 * says what it cannot decide; nothing old comes back, nothing is removed, and it can be done again.
 */
#include "common/failpoint.h"
#include "shard/io.h"
#include "shard/offline.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct fixture f;
static FILE *nowhere;
static char pristine[300];

static struct sc_offline_output silent(void)
{
    return (struct sc_offline_output){.out = nowhere, .err = nowhere};
}

static enum sc_offline_exit check(void)
{
    const struct sc_offline_output output = silent();
    return sc_offline_check(f.dir, &output);
}

static enum sc_offline_exit repair(bool accept_loss)
{
    const struct sc_offline_output output = silent();
    return sc_offline_repair(f.dir, accept_loss, &output);
}

static void build_hints(void)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
}

/* Seals the active file: the next one has the filler. */
static void next_file(void)
{
    char filler[4000];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    put(&f, "filler", filler);
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    build_hints();
}

/* File 1 has the older values, file 3 the newest, file 5 is active. */
static void setup(void)
{
    quiet();
    nowhere = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(nowhere);
    fixture_init(&f);
    f.options.file_size_max = 4096;
    fixture_open(&f);
    put(&f, "deleted", "must not come back");
    put(&f, "k", "older");
    put(&f, "first", "of all");
    next_file();
    put(&f, "k", "the newest");
    ck_assert(del(&f, "deleted"));
    put(&f, "beside", "whole");
    next_file();
    put(&f, "last", "in the active file");
    fixture_close(&f);
    (void)snprintf(pristine, sizeof pristine, "%s.pristine", f.dir);
    dir_copy(f.dir, pristine);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    (void)unsetenv("SHARDCASK_FAILPOINT");
    fixture_fini(&f);
    dir_remove(pristine);
    (void)fclose(nowhere);
}

static void restore(void)
{
    dir_remove(f.dir);
    dir_copy(pristine, f.dir);
}

static void path_of(const char *name, char path[512])
{
    (void)snprintf(path, 512, "%s/%s", f.dir, name);
}

/* Where the bytes of `text` stand in a file, which must have them. */
static uint64_t find(const char *name, const char *text)
{
    char path[512];
    path_of(name, path);
    struct sc_buf bytes = file_read(path);
    const uint8_t *at = memmem(bytes.data, bytes.size, text, strlen(text));
    ck_assert_ptr_nonnull(at);
    uint64_t offset = (uint64_t)(at - bytes.data);
    sc_buf_fini(&bytes);
    return offset;
}

static void flip(const char *name, uint64_t offset)
{
    char path[512];
    path_of(name, path);
    file_flip(path, offset, 0x20);
}

static void remove_file(const char *name)
{
    char path[512];
    path_of(name, path);
    ck_assert_int_eq(unlink(path), 0);
}

static void cut(const char *name, uint64_t size)
{
    char path[512];
    path_of(name, path);
    ck_assert_int_eq(truncate(path, (off_t)size), 0);
}

static bool has(const char *name)
{
    char path[512];
    path_of(name, path);
    return access(path, F_OK) == 0;
}

static void rename_file(const char *from, const char *to)
{
    char path[512];
    char new_path[512];
    path_of(from, path);
    path_of(to, new_path);
    ck_assert_int_eq(rename(path, new_path), 0);
}

/* What is expected of "k": its newest value, or that it is lost. */
enum fate { WHOLE, LOST };

static void judge(enum fate fate)
{
    const char *value;
    enum sc_status status = get(&f, "k", &value);
    if (fate == WHOLE) {
        ck_assert_msg(status == SC_OK, "k: %d %s", status, f.why);
        ck_assert_str_eq(value, "the newest");
    } else {
        ck_assert_msg(status == SC_CORRUPT, "k: %d %s", status, status == SC_OK ? value : f.why);
    }
    expect(&f, "deleted", NULL);
    expect(&f, "first", "of all");
    expect(&f, "last", "in the active file");
}

/* Opens, judges, writes, and opens again: nothing is told. */
static void serve(enum fate fate)
{
    for (int turn = 0; turn < 2; turn++) {
        fixture_open(&f);
        ck_assert_uint_eq(f.event_count, 0);
        judge(fate);
        put(&f, "later", "written after the repair");
        fixture_close(&f);
    }
    fixture_open(&f);
    expect(&f, "later", "written after the repair");
    fixture_close(&f);
}

/* The damage is found, repaired, and gone; and a second repair changes nothing. */
static void expect_repaired(enum fate fate)
{
    ck_assert_int_eq(check(), SC_OFFLINE_DAMAGED);
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    serve(fate);
    ck_assert_int_eq(check(), fate == WHOLE ? SC_OFFLINE_CLEAN : SC_OFFLINE_DAMAGED);
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    serve(fate);
}

START_TEST(nothing_is_done_to_a_whole_directory)
{
    ck_assert_int_eq(check(), SC_OFFLINE_CLEAN);
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    ck_assert(!has("quarantine"));
    for (int i = 1; i <= 5; i += 2) {
        char name[32];
        (void)snprintf(name, sizeof name, "%010d.data", i);
        ck_assert(has(name));
    }
    serve(WHOLE);
}
END_TEST

START_TEST(damaged_value)
{
    flip("0000000003.data", find("0000000003.data", "the newest") + 2);
    expect_repaired(LOST);
    ck_assert(has("quarantine/0000000003.data"));
    ck_assert(!has("0000000003.data"));
    fixture_open(&f);
    put(&f, "k", "well again");
    fixture_close(&f);
    ck_assert_int_eq(check(), SC_OFFLINE_CLEAN);
}
END_TEST

START_TEST(damaged_header_key_and_length)
{
    static const int places[] = {-30, -20, -5, -4, 0}; /* from the key's beginning */
    uint64_t key = find("0000000003.data", "kthe newest");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        restore();
        flip("0000000003.data", (uint64_t)((int64_t)key + places[i]));
        expect_repaired(LOST);
    }
}
END_TEST

START_TEST(damaged_tombstone)
{
    flip("0000000003.data", find("0000000003.data", "deleted") + 1);
    expect_repaired(WHOLE);
}
END_TEST

START_TEST(zeroed_page)
{
    char path[512];
    path_of("0000000003.data", path);
    struct sc_buf bytes = file_read(path);
    memset(bytes.data, 0, find("0000000003.data", "beside") - 32);
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    expect_repaired(LOST);
}
END_TEST

START_TEST(damaged_head)
{
    flip("0000000003.data", 40);
    ck_assert_int_eq(check(), SC_OFFLINE_DAMAGED);
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    serve(WHOLE);
    ck_assert_int_eq(check(), SC_OFFLINE_CLEAN);
}
END_TEST

START_TEST(cut_file)
{
    uint64_t value = find("0000000003.data", "the newest");
    for (uint64_t size = 64; size < value + 5; size += 3) {
        restore();
        cut("0000000003.data", size);
        expect_repaired(LOST);
    }
    restore();
    cut("0000000003.data", 10);
    expect_repaired(LOST);
}
END_TEST

START_TEST(missing_file_with_its_hint)
{
    remove_file("0000000003.data");
    expect_repaired(LOST);
}
END_TEST

START_TEST(missing_file_without_its_hint_is_not_given_up_silently)
{
    remove_file("0000000003.data");
    remove_file("0000000003.hint");
    ck_assert_int_eq(check(), SC_OFFLINE_DAMAGED);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(repair(false), SC_OFFLINE_DAMAGED);
        fixture_try_open(&f);
        ck_assert_ptr_null(f.store);
    }
    ck_assert_int_eq(repair(true), SC_OFFLINE_CLEAN);
    fixture_open(&f);
    expect(&f, "k", "older"); /* that was accepted */
    expect(&f, "first", "of all");
    fixture_close(&f);
}
END_TEST

START_TEST(stretch_without_a_hint_is_left_unless_loss_is_accepted)
{
    remove_file("0000000003.hint");
    flip("0000000003.data", find("0000000003.data", "kthe newest") - 5);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_int_eq(check(), SC_OFFLINE_DAMAGED);
        ck_assert_int_eq(repair(false), SC_OFFLINE_DAMAGED);
        ck_assert(has("0000000003.data"));
    }
    ck_assert_int_eq(repair(true), SC_OFFLINE_CLEAN);
    ck_assert(has("quarantine/0000000003.data"));
    ck_assert_int_eq(check(), SC_OFFLINE_CLEAN);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "beside", "whole");
    expect(&f, "deleted", NULL);
    fixture_close(&f);
}
END_TEST

START_TEST(files_with_each_others_names)
{
    rename_file("0000000001.data", "between");
    rename_file("0000000003.data", "0000000001.data");
    rename_file("between", "0000000003.data");
    expect_repaired(WHOLE);
    ck_assert(!has("quarantine"));
}
END_TEST

START_TEST(file_that_another_was_copied_over)
{
    char path[512];
    path_of("0000000001.data", path);
    struct sc_buf bytes = file_read(path);
    path_of("0000000003.data", path);
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    expect_repaired(LOST);
}
END_TEST

START_TEST(damaged_hint)
{
    char path[512];
    path_of("0000000003.hint", path);
    for (uint64_t offset = 0; offset < 150; offset += 29) {
        restore();
        file_flip(path, offset, 1);
        expect_repaired(WHOLE);
    }
}
END_TEST

START_TEST(damaged_copies_of_the_manifest)
{
    char path[512];
    path_of("MANIFEST", path);
    struct sc_buf bytes = file_read(path);
    flip("MANIFEST", 30);
    expect_repaired(WHOLE);
    restore();
    flip("MANIFEST", 30);
    flip("MANIFEST", bytes.size / 2 + 30);
    expect_repaired(WHOLE);
    ck_assert(has("quarantine/MANIFEST"));
    restore();
    remove_file("MANIFEST");
    expect_repaired(WHOLE);
    restore();
    cut("MANIFEST", 7);
    expect_repaired(WHOLE);
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(manifest_that_is_lost_for_good_is_refused)
{
    remove_file("MANIFEST");
    cut("MANIFEST.copy", 7);
    ck_assert_int_eq(check(), SC_OFFLINE_DAMAGED);
    ck_assert_int_eq(repair(true), SC_OFFLINE_DAMAGED);
    ck_assert(has("0000000003.data") && !has("MANIFEST"));
}
END_TEST

START_TEST(damaged_durable)
{
    flip("DURABLE", 20);
    flip("DURABLE", SC_DURABLE_SECOND + 20); /* one copy would do */
    expect_repaired(WHOLE);
}
END_TEST

START_TEST(directory_without_a_store_stays_as_it_is)
{
    char empty[256];
    temporary_dir(empty);
    const struct sc_offline_output output = silent();
    ck_assert_int_eq(sc_offline_repair(empty, true, &output), SC_OFFLINE_FAILED);
    ck_assert_int_eq(sc_offline_repair("/nonexistent", true, &output), SC_OFFLINE_FAILED);
    dir_remove(empty);
}
END_TEST

/* ---- Interruptions ---- */

/* Damage of many kinds at once. */
static void damage_all(void)
{
    restore();
    flip("0000000003.data", find("0000000003.data", "kthe newest") - 5);
    flip("0000000003.data", find("0000000003.data", "whole"));
    flip("MANIFEST", 30);
    char path[512];
    path_of("MANIFEST", path);
    struct sc_buf bytes = file_read(path);
    flip("MANIFEST", bytes.size / 2 + 30);
    sc_buf_fini(&bytes);
}

static void expect_all_mended(void)
{
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    const char *value;
    ck_assert_int_eq(get(&f, "k", &value), SC_CORRUPT);
    ck_assert_int_eq(get(&f, "beside", &value), SC_CORRUPT);
    expect(&f, "deleted", NULL);
    expect(&f, "first", "of all");
    expect(&f, "last", "in the active file");
    fixture_close(&f);
    ck_assert(has("quarantine/0000000003.data"));
}

/* A repair in a child, which dies when it passes a failpoint for the time number `count`. False: it
 * did not come to that. */
static bool kill_at(const char *step, unsigned count)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s:%u", step, count);
        (void)setenv("SHARDCASK_FAILPOINT", text, 1);
        _exit(repair(false) == SC_OFFLINE_CLEAN ? 0 : 1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

START_TEST(death_at_any_step_is_made_good_by_the_next_repair)
{
    static const char *const steps[] = {
        "repair_manifest_moved", "repair_manifest_written", "quarantine_copied",
        "quarantine_described",  "quarantine_renamed",      "merge_before_reserve",
        "merge_reserved",        "merge_output_created",    "merge_output_written",
        "merge_output_synced",   "merge_hint_written",      "repair_kept",
        "merge_before_sync",     "merge_before_manifest",   "replace_written",
        "replace_renamed",       "merge_after_manifest",    "merge_moved",
        "merge_before_unlink",   "merge_unlinked",
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (unsigned count = 1; count <= 3; count++) {
            damage_all();
            ck_assert_msg(kill_at(steps[i], count) || count > 1, "%s is never passed", steps[i]);
            expect_all_mended();
        }
    }
}
END_TEST

/* The copy is ahead then, or not. */
START_TEST(manifest_that_is_lost_after_a_death_is_made_good)
{
    for (unsigned count = 1; count <= 8; count++) {
        damage_all();
        kill_at("replace_renamed", count);
        if (has("MANIFEST")) {
            remove_file("MANIFEST");
        }
        expect_all_mended();
    }
}
END_TEST

START_TEST(data_files_that_the_copy_does_not_list_are_kept)
{
    remove_file("MANIFEST");
    rename_file("0000000003.hint", "0000000099.data");
    ck_assert_int_eq(repair(false), SC_OFFLINE_CLEAN);
    ck_assert(has("quarantine/0000000099.data"));
    ck_assert(!has("quarantine/0000000003.data"));
    serve(WHOLE);
}
END_TEST

/* A repair in a child, in which one call fails. False: it did not come to that call. */
static bool fail_call(uint64_t countdown, int error)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)sc_io_fault(SC_IO_ANY & ~(unsigned)SC_IO_READ, countdown, error, true);
        (void)repair(false);
        _exit(sc_io_fault(0, 0, 0, false) >= countdown ? 1 : 0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status) == 1;
}

START_TEST(failure_of_any_call_is_made_good_by_the_next_repair)
{
    static const int errors[] = {ENOSPC, EIO};
    for (size_t i = 0; i < 2; i++) {
        bool more = true;
        for (uint64_t countdown = 1; more; countdown += STRIDE) {
            damage_all();
            more = fail_call(countdown, errors[i]);
            expect_all_mended();
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_is_done_to_a_whole_directory,
        damaged_value,
        damaged_header_key_and_length,
        damaged_tombstone,
        zeroed_page,
        damaged_head,
        cut_file,
        missing_file_with_its_hint,
        missing_file_without_its_hint_is_not_given_up_silently,
        stretch_without_a_hint_is_left_unless_loss_is_accepted,
        files_with_each_others_names,
        file_that_another_was_copied_over,
        damaged_hint,
        damaged_copies_of_the_manifest,
        manifest_that_is_lost_for_good_is_refused,
        damaged_durable,
        directory_without_a_store_stays_as_it_is,
        death_at_any_step_is_made_good_by_the_next_repair,
        manifest_that_is_lost_after_a_death_is_made_good,
        data_files_that_the_copy_does_not_list_are_kept,
        failure_of_any_call_is_made_good_by_the_next_repair,
    };
    Suite *suite = suite_create("repair");
    TCase *tcase = tcase_create("repair");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
