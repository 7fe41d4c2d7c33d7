#include "shard/segment.h"

#include "common/bytes.h"
#include "shard/durable.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <xxhash.h>

static char dir[256];
static char path[300];
static char why[SC_WHY_SIZE];
static struct sc_files files;
static const struct sc_segment_owner owner = {"a cluster", 12};

static void setup(void)
{
    temporary_dir(dir);
    (void)snprintf(path, sizeof path, "%s/0000000005.data", dir);
    ck_assert_int_eq(sc_files_open(&files, dir, false, why), SC_OK);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_files_close(&files);
    dir_remove(dir);
}

static struct sc_segment *create(void)
{
    struct sc_segment *segment;
    ck_assert_int_eq(sc_segment_create(&files, 5, 77, &owner, &segment, why), SC_OK);
    return segment;
}

static enum sc_status check_as(uint64_t salt, bool *too_new)
{
    struct sc_segment *segment;
    ck_assert_int_eq(sc_segment_open(&files, 5, salt, true, &segment, why), SC_OK);
    enum sc_status status = sc_segment_check(segment, too_new, why);
    sc_segment_close(segment);
    return status;
}

START_TEST(created_file_has_its_header_and_nothing_else)
{
    bool too_new;
    struct sc_segment *segment = create();
    ck_assert_uint_eq(segment->size, SC_SEGMENT_HEADER_SIZE);
    sc_segment_close(segment);
    ck_assert_int_eq(check_as(77, &too_new), SC_OK);
    ck_assert_int_eq(check_as(78, &too_new), SC_CORRUPT);
    struct stat stat_;
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_size, SC_SEGMENT_HEADER_SIZE);
    ck_assert_uint_eq(stat_.st_mode & 0777, 0600);
    ck_assert_int_eq(sc_segment_create(&files, 5, 77, &owner, &segment, why), SC_IO);
    ck_assert_int_eq(sc_segment_open(&files, 6, 77, true, &segment, why), SC_NOTFOUND);
}
END_TEST

START_TEST(any_damage_to_a_header_is_noticed)
{
    bool too_new;
    sc_segment_close(create());
    for (uint64_t at = 0; at < SC_SEGMENT_HEADER_SIZE; at++) {
        file_flip(path, at, 0x10);
        ck_assert_int_eq(check_as(77, &too_new), SC_CORRUPT);
        ck_assert(!too_new);
        file_flip(path, at, 0x10);
    }
    ck_assert_int_eq(truncate(path, 63), 0);
    ck_assert_int_eq(check_as(77, &too_new), SC_CORRUPT);
}
END_TEST

START_TEST(failed_creation_leaves_no_file)
{
    for (uint64_t call = 1;; call++) {
        struct sc_segment *segment;
        (void)sc_io_fault(SC_IO_ANY & ~(unsigned)SC_IO_UNLINK, call, ENOSPC, false);
        enum sc_status status = sc_segment_create(&files, 5, 77, &owner, &segment, why);
        (void)sc_io_fault(0, 0, 0, false);
        if (status == SC_OK) {
            sc_segment_close(segment);
            ck_assert_uint_gt(call, 4);
            break;
        }
        ck_assert_int_eq(status, SC_IO);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
}
END_TEST

START_TEST(last_reserve_is_for_deletions)
{
    struct sc_segment *segment = create();
    (void)sc_io_fault(SC_IO_ALLOCATE, 1, ENOSPC, false);
    uint64_t puts = 0;
    uint64_t deletions = 0;
    while (sc_segment_allocate(segment, 4096, false)) {
        segment->size += 4096;
        puts++;
    }
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_uint_gt(puts, 0);
    while (sc_segment_allocate(segment, 64, true)) {
        segment->size += 64;
        deletions++;
    }
    ck_assert_uint_ge(deletions, SC_SEGMENT_RESERVE / 64);
    ck_assert_uint_le(segment->size, segment->allocated);
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert(sc_segment_allocate(segment, 4096, false));
    sc_segment_close(segment);
}
END_TEST

START_TEST(nearly_full_disk_is_used_up_in_small_steps)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    struct sc_segment *segment = create();
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 5 << 20;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    while (sc_segment_allocate(segment, 1000, false)) {
        segment->size += 1000;
    }
    ck_assert_int_eq(errno, EFBIG);
    ck_assert_uint_gt(segment->size, (5 << 20) - SC_SEGMENT_RESERVE - 3 * 4096);
    ck_assert_uint_le(segment->allocated, 5 << 20);
    sc_segment_close(segment);
}
END_TEST

/* ---- The durable mark ---- */

static void setup_mark(void)
{
    setup();
    (void)snprintf(path, sizeof path, "%s/DURABLE", dir);
}

static struct sc_durable_mark load_mark(bool *damaged)
{
    struct sc_durable_mark mark;
    ck_assert_int_eq(sc_durable_load(&files, &mark, damaged, why), SC_OK);
    return mark;
}

START_TEST(mark_is_read_as_it_was_written)
{
    struct sc_durable durable;
    bool damaged;
    struct sc_durable_mark mark = load_mark(&damaged);
    ck_assert(mark.file == 0 && mark.offset == 0 && !damaged);
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    mark = load_mark(&damaged);
    ck_assert(mark.file == 0 && !damaged);
    ck_assert(sc_durable_write(&durable, (struct sc_durable_mark){3, 1000},
                               (struct sc_durable_mark){4, 200}));
    /* On this boot what was acknowledged counts, on any other what was synced. */
    mark = load_mark(&damaged);
    ck_assert(mark.file == 4 && mark.offset == 200 && !damaged);
    forget_boot(dir, 0);
    mark = load_mark(&damaged);
    ck_assert(mark.file == 3 && mark.offset == 1000 && !damaged);
    sc_durable_close(&durable);
}
END_TEST

START_TEST(a_mark_that_cannot_be_read_is_an_error_not_an_absence)
{
    struct sc_durable durable;
    struct sc_durable_mark mark;
    bool damaged;
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    ck_assert(sc_durable_write(&durable, (struct sc_durable_mark){3, 1000},
                               (struct sc_durable_mark){4, 200}));
    sc_durable_close(&durable);
    for (uint64_t call = 1; call <= 2; call++) {
        (void)sc_io_fault(call == 1 ? SC_IO_OPEN : SC_IO_READ, 1, EIO, true);
        ck_assert_int_eq(sc_durable_load(&files, &mark, &damaged, why), SC_IO);
        (void)sc_io_fault(0, 0, 0, false);
        ck_assert_ptr_nonnull(strstr(why, "DURABLE"));
    }
    mark = load_mark(&damaged);
    ck_assert(mark.file == 4 && mark.offset == 200);
}
END_TEST

/* Writes marks with these acknowledged offsets. */
static void write_marks(struct sc_durable *durable, uint64_t first, uint64_t last)
{
    for (uint64_t at = first; at <= last; at++) {
        ck_assert(sc_durable_write(durable, (struct sc_durable_mark){4, 1},
                                   (struct sc_durable_mark){4, at}));
    }
}

static void expect_mark(uint64_t offset)
{
    bool damaged;
    struct sc_durable_mark mark = load_mark(&damaged);
    ck_assert(!damaged);
    ck_assert_uint_eq(mark.file, offset > 0 ? 4 : 0);
    ck_assert_uint_eq(mark.offset, offset);
}

START_TEST(damaged_mark_is_not_believed)
{
    struct sc_durable durable;
    bool damaged;
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    write_marks(&durable, 200, 200);
    for (uint64_t at = 0; at < 80; at++) {
        file_flip(path, at, 0x04);
        struct sc_durable_mark mark = load_mark(&damaged);
        ck_assert(mark.file == 0 && mark.offset == 0);
        ck_assert(damaged);
        file_flip(path, at, 0x04);
    }
    sc_durable_close(&durable);
}
END_TEST

START_TEST(half_a_mark_leaves_the_one_before)
{
    struct sc_durable durable;
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    for (uint64_t last = 1; last <= 4; last++) {
        write_marks(&durable, last, last);
        uint64_t place = last % 2 == 1 ? 0 : SC_DURABLE_SECOND;
        for (uint64_t at = 0; at < 80; at++) {
            file_flip(path, place + at, 0x04);
            if (last > 1) {
                expect_mark(last - 1);
            }
            file_flip(path, place + at, 0x04);
        }
        expect_mark(last);
    }
    sc_durable_close(&durable);
}
END_TEST

START_TEST(failed_write_harms_no_mark)
{
    struct sc_durable durable;
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    for (uint64_t last = 1; last <= 5; last++) {
        write_marks(&durable, last, last);
        (void)sc_io_fault(SC_IO_WRITE, 1, EIO, false);
        for (int i = 0; i < 3; i++) {
            ck_assert(!sc_durable_write(&durable, (struct sc_durable_mark){4, 1},
                                        (struct sc_durable_mark){4, 9}));
        }
        (void)sc_io_fault(0, 0, 0, false);
        expect_mark(last);
    }
    sc_durable_close(&durable);
}
END_TEST

START_TEST(marks_go_on_when_the_file_is_opened_again)
{
    struct sc_durable durable;
    for (uint64_t last = 1; last <= 9; last += 2) {
        ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
        ck_assert_int_eq(durable.base != NULL, last > 1);
        write_marks(&durable, last, last + 1);
        ck_assert_ptr_nonnull(durable.base);
        expect_mark(last + 1);
        write_marks(&durable, last, last); /* smaller than before: the newer one counts */
        expect_mark(last);
        sc_durable_close(&durable);
        expect_mark(last);
    }
}
END_TEST

START_TEST(mark_is_written_where_it_can_no_longer_be_stored)
{
    struct sc_durable durable;
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    write_marks(&durable, 1, 3);
    ck_assert_ptr_nonnull(durable.base);
    ck_assert_int_eq(truncate(path, 0), 0); /* SIGBUS from now on */
    write_marks(&durable, 4, 4);
    ck_assert_ptr_null(durable.base);
    expect_mark(4);
    write_marks(&durable, 5, 6);
    expect_mark(6);
    ck_assert_ptr_null(durable.base);
    sc_durable_close(&durable);
}
END_TEST

START_TEST(mark_of_format_version_1_is_read_and_replaced)
{
    struct sc_durable durable;
    uint8_t mark[72] = "SCASKDUR\1";
    sc_le64_put(mark + 16, 4);
    sc_le64_put(mark + 24, 70);
    sc_le64_put(mark + 64, XXH3_64bits(mark, 64));
    file_write(path, mark, sizeof mark);
    expect_mark(70); /* of a boot that is not known: what was synced */
    ck_assert_int_eq(sc_durable_open(&durable, &files, why), SC_OK);
    expect_mark(70);
    write_marks(&durable, 80, 80);
    struct sc_buf both = file_read(path);
    ck_assert_mem_eq(both.data, mark, sizeof mark); /* is whole until there is another */
    sc_buf_fini(&both);
    expect_mark(80);
    write_marks(&durable, 81, 82);
    expect_mark(82);
    sc_durable_close(&durable);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("segment");
    TCase *tcase = tcase_create("segment");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, created_file_has_its_header_and_nothing_else);
    tcase_add_test(tcase, any_damage_to_a_header_is_noticed);
    tcase_add_test(tcase, failed_creation_leaves_no_file);
    tcase_add_test(tcase, last_reserve_is_for_deletions);
    tcase_add_test(tcase, nearly_full_disk_is_used_up_in_small_steps);
    suite_add_tcase(suite, tcase);
    TCase *mark = tcase_create("durable");
    tcase_add_checked_fixture(mark, setup_mark, teardown);
    tcase_add_test(mark, mark_is_read_as_it_was_written);
    tcase_add_test(mark, a_mark_that_cannot_be_read_is_an_error_not_an_absence);
    tcase_add_test(mark, damaged_mark_is_not_believed);
    tcase_add_test(mark, half_a_mark_leaves_the_one_before);
    tcase_add_test(mark, failed_write_harms_no_mark);
    tcase_add_test(mark, marks_go_on_when_the_file_is_opened_again);
    tcase_add_test(mark, mark_is_written_where_it_can_no_longer_be_stored);
    tcase_add_test(mark, mark_of_format_version_1_is_read_and_replaced);
    suite_add_tcase(suite, mark);
    return sc_check_main(suite);
}
