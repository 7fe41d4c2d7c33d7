/* Label: only a directory with the very label is removed, and only when nothing else is in it. */
#include "shard/io.h"
#include "shard/label.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[256];
static struct sc_files parent;
static struct sc_files part;
static char why[SC_WHY_SIZE];
static const struct sc_label label = {.cluster = {1, 2, 3}, .shard_id = 7, .label = 99};

static void put_file(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/shard-7/%s", dir, name);
    file_write(path, "x", 1);
}

static bool there(void)
{
    return faccessat(parent.dir_fd, "shard-7", F_OK, 0) == 0;
}

static void setup(void)
{
    temporary_dir(dir);
    parent = (struct sc_files){.path = dir, .lock_fd = -1};
    parent.dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(mkdirat(parent.dir_fd, "shard-7", 0700), 0);
    part = (struct sc_files){.path = dir, .lock_fd = -1};
    part.dir_fd = openat(parent.dir_fd, "shard-7", O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(part.dir_fd, 0);
}

static void teardown(void)
{
    (void)close(part.dir_fd);
    (void)close(parent.dir_fd);
    dir_remove(dir);
}

START_TEST(a_part_with_the_label_is_removed)
{
    ck_assert_int_eq(sc_label_write(&label, &part, why), SC_OK);
    put_file("0000000001.data");
    put_file("0000000001.hint");
    put_file("MANIFEST");
    put_file("HORIZON");
    put_file("MANIFEST.tmp");
    ck_assert(sc_label_reclaim(&label, &parent, "shard-7"));
    ck_assert(!there());
}
END_TEST

START_TEST(a_part_of_a_complete_backup_stays)
{
    ck_assert_int_eq(sc_label_write(&label, &part, why), SC_OK);
    ck_assert_int_eq(sc_files_replace(&parent, SC_LABEL_COMPLETE, "{}", 2, why), SC_OK);
    ck_assert(!sc_label_reclaim(&label, &parent, "shard-7"));
    ck_assert_int_eq(sc_io_unlink(parent.dir_fd, SC_LABEL_COMPLETE), 0);
    ck_assert(sc_label_reclaim(&label, &parent, "shard-7"));
}
END_TEST

START_TEST(what_was_not_even_labelled_is_removed_when_it_is_empty)
{
    put_file("BACKUP.tmp");
    ck_assert(sc_label_reclaim(&label, &parent, "shard-7"));
    ck_assert(!there());
    ck_assert(!sc_label_reclaim(&label, &parent, "shard-7"));
}
END_TEST

START_TEST(everything_else_stays)
{
    struct sc_label other = label;
    put_file("0000000001.data");
    ck_assert(!sc_label_reclaim(&label, &parent, "shard-7"));
    ck_assert_int_eq(sc_label_write(&label, &part, why), SC_OK);
    other.label++;
    ck_assert(!sc_label_reclaim(&other, &parent, "shard-7"));
    other = label;
    other.shard_id++;
    ck_assert(!sc_label_reclaim(&other, &parent, "shard-7"));
    other = label;
    other.cluster[15]++;
    ck_assert(!sc_label_reclaim(&other, &parent, "shard-7"));
    other = (struct sc_label){.label = 0};
    ck_assert(!sc_label_reclaim(&other, &parent, "shard-7"));
    put_file("LOCK"); /* a store's own directory has that, and no backup */
    ck_assert(!sc_label_reclaim(&label, &parent, "shard-7"));
    ck_assert_int_eq(faccessat(part.dir_fd, "0000000001.data", F_OK, 0), 0);
    ck_assert(there());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("label");
    TCase *tcase = tcase_create("label");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_part_with_the_label_is_removed);
    tcase_add_test(tcase, a_part_of_a_complete_backup_stays);
    tcase_add_test(tcase, what_was_not_even_labelled_is_removed_when_it_is_empty);
    tcase_add_test(tcase, everything_else_stays);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
