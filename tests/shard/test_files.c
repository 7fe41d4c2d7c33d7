#include "shard/files.h"

#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <sys/stat.h>

static char dir[256];
static char why[SC_WHY_SIZE];
static struct sc_files files;

static void setup(void)
{
    temporary_dir(dir);
    ck_assert_int_eq(sc_files_open(&files, dir, false, why), SC_OK);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_files_close(&files);
    dir_remove(dir);
}

START_TEST(only_canonical_names_are_data_files)
{
    static const struct {
        const char *name;
        enum sc_files_kind kind;
        uint64_t number;
    } names[] = {
        {"0000000001.data", SC_FILES_DATA, 1},
        {"0000000010.hint", SC_FILES_HINT, 10},
        {"12345678901.data", SC_FILES_DATA, UINT64_C(12345678901)},
        {"1.data", SC_FILES_OTHER, 0},
        {"00000000001.data", SC_FILES_OTHER, 0},
        {"0000000001.data.orphan", SC_FILES_OTHER, 0},
        {"0000000001.dat", SC_FILES_OTHER, 0},
        {"0000000001.data ", SC_FILES_OTHER, 0},
        {"+000000001.data", SC_FILES_OTHER, 0},
        {"99999999999999999999999.data", SC_FILES_OTHER, 0},
        {"MANIFEST", SC_FILES_OTHER, 0},
        {"MANIFEST.tmp", SC_FILES_TEMPORARY, 0},
        {"0000000001.hint.tmp", SC_FILES_TEMPORARY, 0},
        {".tmp", SC_FILES_OTHER, 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t number = 0;
        ck_assert_msg(sc_files_parse(names[i].name, &number) == names[i].kind, "%s", names[i].name);
        ck_assert_uint_eq(number, names[i].number);
    }
}
END_TEST

START_TEST(directory_is_made_private_and_locked)
{
    char path[300];
    struct sc_files made;
    struct sc_files second;
    struct stat stat_;
    (void)snprintf(path, sizeof path, "%s/new", dir);
    ck_assert_int_eq(sc_files_open(&made, path, true, why), SC_IO);
    ck_assert_int_eq(sc_files_open(&made, path, false, why), SC_OK);
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_mode & 0777, 0700);
    ck_assert_int_eq(sc_files_open(&second, path, false, why), SC_BUSY);
    ck_assert_int_eq(sc_files_open(&second, path, true, why), SC_BUSY);
    sc_files_close(&made);
    /* Readers share it. */
    ck_assert_int_eq(sc_files_open(&made, path, true, why), SC_OK);
    ck_assert_int_eq(sc_files_open(&second, path, true, why), SC_OK);
    sc_files_close(&made);
    sc_files_close(&second);
    dir_remove(path);
}
END_TEST

START_TEST(path_that_is_no_directory_is_refused)
{
    char path[300];
    struct sc_files other;
    (void)snprintf(path, sizeof path, "%s/file", dir);
    file_write(path, "x", 1);
    ck_assert_int_eq(sc_files_open(&other, path, false, why), SC_IO);
    ck_assert_ptr_nonnull(strstr(why, path));
    (void)snprintf(path, sizeof path, "%s/none/new", dir);
    ck_assert_int_eq(sc_files_open(&other, path, false, why), SC_IO);
}
END_TEST

static void expect_content(const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/thing", dir);
    struct sc_buf bytes = file_read(path);
    ck_assert(sc_slice_equal(sc_buf_slice(&bytes), sc_slice_str(text)));
    sc_buf_fini(&bytes);
}

START_TEST(replace_leaves_the_old_file_or_the_new_one)
{
    static const unsigned calls[] = {SC_IO_OPEN, SC_IO_WRITE, SC_IO_SYNC, SC_IO_RENAME};
    ck_assert_int_eq(sc_files_replace(&files, "thing", "old", 3, why), SC_OK);
    expect_content("old");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        (void)sc_io_fault(calls[i], 1, EIO, true);
        ck_assert_int_eq(sc_files_replace(&files, "thing", "new", 3, why), SC_IO);
        ck_assert_str_ne(why, "");
        expect_content("old");
        char path[300];
        (void)snprintf(path, sizeof path, "%s/thing.tmp", dir);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
    (void)sc_io_fault(SC_IO_SYNC, 2, EIO, true); /* that of the directory */
    ck_assert_int_eq(sc_files_replace(&files, "thing", "new", 3, why), SC_UNKNOWN);
    expect_content("new");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("files");
    TCase *tcase = tcase_create("files");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, only_canonical_names_are_data_files);
    tcase_add_test(tcase, directory_is_made_private_and_locked);
    tcase_add_test(tcase, path_that_is_no_directory_is_refused);
    tcase_add_test(tcase, replace_leaves_the_old_file_or_the_new_one);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
