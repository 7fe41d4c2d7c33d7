/* The list of a backup: what is taken from it, and that no damaged one is. */
#include "tools/backup_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/buf.h"
#include "tests/check_main.h"
#include "tests/random.h"

static char dir[64];
static struct sc_backup_list *list;
static char why[SC_WHY_SIZE];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/sc-list-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    list = sc_calloc(1, sizeof *list);
}

static void teardown(void)
{
    char command[128];
    sc_backup_list_fini(list);
    free(list);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* Writes a list with this backup in it and reads it. */
static enum sc_status read_list(const char *backup)
{
    char text[4096];
    int size = snprintf(text, sizeof text, "{\"backup\":%s,\"xxh3\":\"%016" PRIx64 "\"}\n", backup,
                        (uint64_t)XXH3_64bits(backup, strlen(backup)));
    ck_assert(size > 0 && size < (int)sizeof text);
    write_file("backup.json", text, (size_t)size);
    sc_backup_list_fini(list);
    return sc_backup_list_read(dir, list, why);
}

#define HEAD                                                                     \
    "\"format\":1,\"cluster\":\"00112233445566778899aabbccddeeff\",\"epoch\":3," \
    "\"time\":\"2026-11-25T17:00:00Z\",\"time_ms\":1,\"slots\":16384,"
#define FILES "[{\"name\":\"a\",\"size\":3,\"xxh3\":\"%016" PRIx64 "\"}]"
#define SHARDS                                                                             \
    "\"shards\":[{\"id\":1,\"url\":\"u\",\"directory\":\"shard-1\",\"keys\":5,\"files\":[" \
    "{\"name\":\"a\",\"size\":3,\"xxh3\":\"00000000000000ff\"}]},"                         \
    "{\"id\":2,\"url\":\"u\",\"directory\":\"shard-2\",\"keys\":6,\"files\":[]}]"
#define MAP "\"map\":[[0,99,1],[100,16383,2]],"

START_TEST(a_list_says_what_there_is)
{
    ck_assert_int_eq(read_list("{" HEAD MAP SHARDS "}"), SC_OK);
    ck_assert_str_eq(list->cluster, "00112233445566778899aabbccddeeff");
    ck_assert_str_eq(list->time, "2026-11-25T17:00:00Z");
    ck_assert(list->epoch == 3 && list->keys == 11 && list->bytes == 3);
    ck_assert_uint_eq(list->shard_count, 2);
    ck_assert_uint_eq(list->shards[0].file_count, 1);
    ck_assert_str_eq(list->shards[0].files[0].name, "a");
    ck_assert_uint_eq(list->shards[0].files[0].checksum, 255);
    ck_assert_str_eq(strrchr(list->shards[1].path, '/'), "/shard-2");
    ck_assert(list->owner[0] == 1 && list->owner[99] == 1 && list->owner[100] == 2);
    ck_assert_uint_eq(list->owner[16383], 2);
}
END_TEST

START_TEST(lists_that_make_no_sense_are_refused)
{
    static const char *const lists[] = {
        "{}",
        "[]",
        "7",
        "{" HEAD MAP "\"shards\":[]}",
        "{" HEAD SHARDS "}",
        "{" HEAD MAP "\"shards\":7}",
        "{" HEAD "\"map\":[[0,99,1],[101,16383,2]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,99,1],[99,16383,2]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,99,1],[100,16384,2]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,99,1],[100,16382,2]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,99,1],[100,16383,3]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,99],[100,16383]]," SHARDS "}",
        "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"..\",\"keys\":1,"
        "\"files\":[]}]}",
        "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"a/b\",\"keys\":1,"
        "\"files\":[]}]}",
        "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"a\",\"keys\":1,"
        "\"files\":[{\"name\":\"../x\",\"size\":1,\"xxh3\":\"0000000000000000\"}]}]}",
        "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"a\",\"keys\":1,"
        "\"files\":[{\"name\":\"x\",\"size\":1,\"xxh3\":\"000000000000000g\"}]}]}",
        "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"a\",\"keys\":1,"
        "\"files\":[{\"name\":\"x\",\"size\":-1,\"xxh3\":\"0000000000000000\"}]}]}",
        "{" HEAD "\"map\":[[0,16383,0]],\"shards\":[{\"id\":0,\"directory\":\"a\",\"keys\":1,"
        "\"files\":[]}]}",
        "{\"format\":2}",
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        ck_assert_msg(read_list(lists[i]) == SC_CORRUPT, "%s", lists[i]);
        ck_assert_ptr_null(list->dir);
    }
    sc_backup_list_fini(list);
    ck_assert_int_eq(sc_backup_list_read("/nonexistent", list, why), SC_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(why, "did not become complete"));
}
END_TEST

/* Any change of any byte, and any cut, is found by the list's own checksum. */
START_TEST(no_damaged_list_is_taken)
{
    char path[128];
    char text[4096];
    struct test_random rng = test_random_start("damage");
    ck_assert_int_eq(read_list("{" HEAD MAP SHARDS "}"), SC_OK);
    snprintf(path, sizeof path, "%s/backup.json", dir);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size_t size = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    for (size_t i = 0; i < size; i++) {
        char kept = text[i];
        text[i] = (char)(kept ^ (1 << test_random_below(&rng, 8)));
        write_file("backup.json", text, size);
        sc_backup_list_fini(list);
        ck_assert_int_eq(sc_backup_list_read(dir, list, why), SC_CORRUPT);
        text[i] = kept;
        write_file("backup.json", text, i);
        ck_assert_int_eq(sc_backup_list_read(dir, list, why), SC_CORRUPT);
    }
}
END_TEST

static unsigned wrong;

static void on_wrong(void *arg, const char *path, const char *text)
{
    (void)arg;
    ck_assert(path[0] == '/' && text[0] != '\0');
    wrong++;
}

static bool on_passed(void *arg, uint64_t bytes)
{
    uint64_t *sum = arg;
    *sum += bytes;
    return true;
}

START_TEST(files_are_what_the_list_says)
{
    char backup[2048];
    uint64_t sum = 0;
    const struct sc_backup_list_watcher watcher = {on_wrong, on_passed, &sum};
    char command[128];
    snprintf(command, sizeof command, "mkdir %s/s", dir);
    ck_assert_int_eq(system(command), 0);
    snprintf(backup, sizeof backup,
             "{" HEAD "\"map\":[[0,16383,1]],\"shards\":[{\"id\":1,\"directory\":\"s\",\"keys\":1,"
             "\"files\":" FILES "}]}",
             (uint64_t)XXH3_64bits("abc", 3));
    ck_assert_int_eq(read_list(backup), SC_OK);
    ck_assert_int_eq(sc_backup_list_verify(list, &watcher), SC_CORRUPT); /* it is not there */
    ck_assert_uint_eq(wrong, 1);
    write_file("s/a", "abc", 3);
    ck_assert_int_eq(sc_backup_list_verify(list, &watcher), SC_OK);
    ck_assert_uint_eq(sum, 3);
    write_file("s/a", "abd", 3);
    ck_assert_int_eq(sc_backup_list_verify(list, &watcher), SC_CORRUPT);
    write_file("s/a", "abcd", 4);
    ck_assert_int_eq(sc_backup_list_verify(list, &watcher), SC_CORRUPT);
    write_file("s/a", "ab", 2);
    ck_assert_int_eq(sc_backup_list_verify(list, &watcher), SC_CORRUPT);
    ck_assert_uint_eq(wrong, 4);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backup list");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_list_says_what_there_is);
    tcase_add_test(tests, lists_that_make_no_sense_are_refused);
    tcase_add_test(tests, no_damaged_list_is_taken);
    tcase_add_test(tests, files_are_what_the_list_says);
    Suite *suite = suite_create("backup list");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
