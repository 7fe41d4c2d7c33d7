/* Damaged bytes are copied aside, whole and once, or not at all. */
#include "common/failpoint.h"
#include "shard/io.h"
#include "shard/quarantine.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[256];
static struct sc_files files;
static char why[SC_WHY_SIZE];
static uint8_t content[3 << 20];

static void setup(void)
{
    char path[512];
    temporary_dir(dir);
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    (void)snprintf(path, sizeof path, "%s/0000000003.data", dir);
    file_write(path, content, sizeof content);
    ck_assert_int_eq(sc_files_open(&files, dir, false, why), SC_OK);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_files_close(&files);
    dir_remove(dir);
}

static struct sc_damage damage_of(uint64_t offset, uint64_t size)
{
    return (struct sc_damage){.kind = SC_DAMAGE_VALUE,
                              .file = 3,
                              .offset = offset,
                              .size = size,
                              .key = sc_slice_str("the\nkey"),
                              .version = 77,
                              .live = true};
}

static void path_of(const struct sc_damage *damage, char path[512])
{
    char name[SC_QUARANTINE_NAME_SIZE];
    sc_quarantine_name(damage, name);
    (void)snprintf(path, 512, "%s/%s", dir, name);
}

/* The copy is there, and exact. */
static void expect_copy(const struct sc_damage *damage)
{
    char path[512];
    ck_assert(sc_quarantine_has(&files, damage));
    path_of(damage, path);
    struct sc_buf copy = file_read(path);
    ck_assert_uint_eq(copy.size, damage->size);
    ck_assert_mem_eq(copy.data, content + damage->offset, copy.size);
    sc_buf_fini(&copy);
    memcpy(strstr(path, ".bytes"), ".json", sizeof ".json");
    struct sc_buf line = file_read(path);
    sc_buf_append(&line, "", 1);
    ck_assert_ptr_nonnull(strstr((char *)line.data, "\"file\":\"0000000003.data\""));
    ck_assert_ptr_nonnull(strstr((char *)line.data, "\"key\":\"the\\nkey\""));
    ck_assert_ptr_nonnull(strstr((char *)line.data, "\"version\":77"));
    ck_assert_ptr_nonnull(strstr((char *)line.data, "}\n"));
    sc_buf_fini(&line);
}

START_TEST(bytes_are_copied_and_described)
{
    const struct sc_damage small = damage_of(64, 1);
    const struct sc_damage large = damage_of(4096 - 8, (2 << 20) + 100);
    ck_assert(!sc_quarantine_has(&files, &small));
    ck_assert_int_eq(sc_quarantine_keep(&files, &small, why), SC_OK);
    ck_assert_int_eq(sc_quarantine_keep(&files, &large, why), SC_OK);
    expect_copy(&small);
    expect_copy(&large);
}
END_TEST

START_TEST(a_part_is_kept_once)
{
    char path[512];
    struct stat first;
    struct stat second;
    const struct sc_damage damage = damage_of(640, 48);
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
    path_of(&damage, path);
    ck_assert_int_eq(stat(path, &first), 0);
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
    ck_assert_int_eq(stat(path, &second), 0);
    ck_assert_uint_eq(first.st_ino, second.st_ino);
}
END_TEST

START_TEST(end_of_the_file_cuts_a_part_short)
{
    char path[512];
    const struct sc_damage damage = damage_of(sizeof content - 10, 48);
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
    path_of(&damage, path);
    struct sc_buf copy = file_read(path);
    ck_assert_uint_eq(copy.size, 10);
    sc_buf_fini(&copy);
}
END_TEST

static unsigned listed;

static void count_part(void *arg, const struct sc_damage *part)
{
    const struct sc_damage *expected = arg;
    listed++;
    ck_assert_uint_eq(part->file, expected->file);
    ck_assert_uint_eq(part->offset, expected->offset);
    ck_assert_uint_eq(part->size, expected->size);
}

START_TEST(list_has_what_was_kept_and_no_other_names)
{
    char path[512];
    struct sc_damage damage = damage_of(640, 48);
    listed = 0;
    sc_quarantine_list(&files, count_part, &damage);
    ck_assert_uint_eq(listed, 0); /* and no directory was made */
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
    static const char *const others[] = {"notes.txt", "3-640-48.bytes",
                                         "0000000003-640-48.bytes.tmp", "0000000003-640-48.bytesx"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        (void)snprintf(path, sizeof path, "%s/quarantine/%s", dir, others[i]);
        file_write(path, "x", 1);
    }
    sc_quarantine_list(&files, count_part, &damage);
    ck_assert_uint_eq(listed, 1);
}
END_TEST

START_TEST(full_quarantine_takes_no_more)
{
    char path[512];
    struct sc_damage damage = damage_of(640, 48);
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
    (void)snprintf(path, sizeof path, "%s/quarantine/huge.bytes", dir);
    file_write(path, "", 0);
    ck_assert_int_eq(truncate(path, (off_t)SC_QUARANTINE_BYTES_MAX), 0);
    damage.offset = 1280;
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_TOOLARGE);
    ck_assert(!sc_quarantine_has(&files, &damage));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
}
END_TEST

/* Whichever call fails: nothing looks kept that is not, and the next attempt succeeds. */
static void fail_each_call(int error)
{
    bool more = true;
    for (uint64_t countdown = 1; more; countdown++) {
        char quarantine[512];
        (void)snprintf(quarantine, sizeof quarantine, "%s/quarantine", dir);
        if (access(quarantine, F_OK) == 0) {
            dir_remove(quarantine);
        }
        const struct sc_damage damage = damage_of(640, 100000);
        (void)sc_io_fault(SC_IO_ANY, countdown, error, true);
        enum sc_status status = sc_quarantine_keep(&files, &damage, why);
        more = sc_io_fault(0, 0, 0, false) >= countdown;
        if (status == SC_OK) {
            expect_copy(&damage); /* a read that fails is tried again */
        } else {
            ck_assert_int_eq(status, SC_IO);
            ck_assert(!sc_quarantine_has(&files, &damage));
        }
        ck_assert(more || status == SC_OK);
        ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
        expect_copy(&damage);
    }
}

START_TEST(failure_of_any_call_leaves_nothing_half)
{
    fail_each_call(ENOSPC);
    fail_each_call(EIO);
}
END_TEST

START_TEST(death_at_any_step_leaves_nothing_half)
{
    static const char *const steps[] = {"quarantine_copied", "quarantine_described",
                                        "quarantine_renamed"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const struct sc_damage damage = damage_of(640 + 800 * i, 500);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            (void)setenv("SHARDCASK_FAILPOINT", steps[i], 1);
            sc_failpoint_init();
            (void)sc_quarantine_keep(&files, &damage, why);
            _exit(0);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ck_assert(sc_quarantine_has(&files, &damage) == (i == 2));
        ck_assert_int_eq(sc_quarantine_keep(&files, &damage, why), SC_OK);
        expect_copy(&damage);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quarantine");
    TCase *tcase = tcase_create("quarantine");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, bytes_are_copied_and_described);
    tcase_add_test(tcase, a_part_is_kept_once);
    tcase_add_test(tcase, end_of_the_file_cuts_a_part_short);
    tcase_add_test(tcase, list_has_what_was_kept_and_no_other_names);
    tcase_add_test(tcase, full_quarantine_takes_no_more);
    tcase_add_test(tcase, failure_of_any_call_leaves_nothing_half);
    tcase_add_test(tcase, death_at_any_step_leaves_nothing_half);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
