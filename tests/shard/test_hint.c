#include "shard/hint.h"

#include "shard/io.h"
#include "shard/segment.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>

#define SALT UINT64_C(0x0102030405060708)

static char dir[256];
static char why[SC_WHY_SIZE];
static struct sc_files files;
static struct sc_buf data; /* the data file */
static unsigned records;

static void path_of(const char *name, char path[300])
{
    (void)snprintf(path, 300, "%s/%s", dir, name);
}

static void setup(void)
{
    temporary_dir(dir);
    ck_assert_int_eq(sc_files_open(&files, dir, false, why), SC_OK);
    memset(sc_buf_reserve(&data, SC_SEGMENT_HEADER_SIZE), 0, SC_SEGMENT_HEADER_SIZE);
    data.size = SC_SEGMENT_HEADER_SIZE;
    records = 0;
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_files_close(&files);
    sc_buf_fini(&data);
    dir_remove(dir);
}

/* Record i: version 1000 + i, every third one a tombstone. */
static void add(size_t key_size)
{
    static char key[65535];
    unsigned i = records++;
    memset(key, 'k', sizeof key);
    (void)snprintf(key, sizeof key, "%u", i);
    struct sc_record record = {
        .version = 1000 + i,
        .expires_ms = i % 3 == 0 ? 0 : i,
        .kind = i % 3 == 0 ? SC_RECORD_TOMBSTONE : SC_RECORD_PUT,
        .key = {key, key_size},
        .value = {"value", i % 3 == 0 ? 0 : 5},
    };
    size_t size = (size_t)sc_record_size(key_size, record.value.size);
    sc_record_encode(sc_buf_reserve(&data, size), &record, SALT ^ data.size);
    data.size += size;
}

static void build(void)
{
    char path[300];
    path_of("0000000003.data", path);
    file_write(path, data.data, data.size);
    ck_assert_int_eq(sc_hint_build(&files, 3, SALT, NULL, 0, why), SC_OK);
}

struct visits {
    unsigned count;
    uint64_t offset; /* of the next record */
};

static void visit(void *arg, const struct sc_hint_entry *entry)
{
    struct visits *visits = arg;
    unsigned i = visits->count++;
    ck_assert_uint_eq(entry->offset, visits->offset);
    ck_assert_uint_eq(entry->record.version, 1000 + i);
    ck_assert_uint_eq(entry->record.expires_ms, i % 3 == 0 ? 0 : i);
    ck_assert_int_eq(entry->record.kind, i % 3 == 0 ? SC_RECORD_TOMBSTONE : SC_RECORD_PUT);
    ck_assert_uint_eq(entry->record.value.size, i % 3 == 0 ? 0 : 5);
    ck_assert_uint_eq(atoi(entry->record.key.data), (int)i);
    visits->offset += entry->size;
}

static enum sc_status load(uint64_t number, uint64_t salt, uint64_t size, struct visits *visits)
{
    uint64_t covered = 0;
    *visits = (struct visits){.offset = SC_SEGMENT_HEADER_SIZE};
    enum sc_status status = sc_hint_load(&files, number, salt, size, visit, visits, &covered, why);
    if (status == SC_OK) {
        ck_assert_uint_eq(covered, data.size);
        ck_assert_uint_eq(visits->offset, data.size);
        ck_assert_uint_eq(visits->count, records);
    }
    return status;
}

START_TEST(hint_tells_of_every_record_in_order)
{
    struct visits visits;
    for (int i = 0; i < 20000; i++) {
        add(6 + (size_t)i % 60);
    }
    add(65535);
    add(65535);
    build();
    ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_OK);
    /* It serves for a file that has grown since. */
    ck_assert_int_eq(load(3, SALT, data.size + 1000, &visits), SC_OK);
}
END_TEST

START_TEST(hint_of_an_empty_file_is_fine)
{
    struct visits visits;
    build();
    ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_OK);
    ck_assert_uint_eq(visits.count, 0);
}
END_TEST

START_TEST(hint_of_another_file_is_refused)
{
    struct visits visits;
    char from[300];
    char to[300];
    add(6);
    build();
    ck_assert_int_eq(load(4, SALT, data.size, &visits), SC_NOTFOUND);
    ck_assert_int_eq(load(3, SALT + 1, data.size, &visits), SC_CORRUPT);
    ck_assert_int_eq(load(3, SALT, data.size - 8, &visits), SC_CORRUPT);
    path_of("0000000003.hint", from);
    path_of("0000000004.hint", to);
    ck_assert_int_eq(rename(from, to), 0);
    ck_assert_int_eq(load(4, SALT, data.size, &visits), SC_CORRUPT);
}
END_TEST

START_TEST(every_flip_and_every_cut_is_noticed_and_nothing_false_is_told)
{
    struct visits visits;
    char path[300];
    for (int i = 0; i < 10; i++) {
        add(6);
    }
    build();
    path_of("0000000003.hint", path);
    struct sc_buf whole = file_read(path);
    for (size_t at = 0; at < whole.size; at++) {
        for (unsigned bit = 1; bit < 256; bit *= 4) {
            file_flip(path, at, (uint8_t)bit);
            ck_assert_msg(load(3, SALT, data.size, &visits) == SC_CORRUPT, "byte %d", (int)at);
            file_flip(path, at, (uint8_t)bit);
        }
        file_write(path, whole.data, at);
        ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_CORRUPT);
        file_write(path, whole.data, whole.size);
    }
    ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_OK);
    sc_buf_fini(&whole);
}
END_TEST

START_TEST(lost_stretch_forbids_a_hint_but_a_lost_value_does_not)
{
    struct visits visits;
    char path[300];
    for (int i = 0; i < 10; i++) {
        add(6);
    }
    /* The second record is a put: 64 + 40 is its start, 38 bytes on its value. */
    data.data[64 + 40 + 38] ^= 1;
    build();
    ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_OK);
    path_of("0000000003.hint", path);
    ck_assert_int_eq(unlink(path), 0);
    data.data[64 + 40 + 10] ^= 1;
    path_of("0000000003.data", path);
    file_write(path, data.data, data.size);
    ck_assert_int_eq(sc_hint_build(&files, 3, SALT, NULL, 0, why), SC_CORRUPT);
    ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_NOTFOUND);
    /* Unless it is known to mean nothing. */
    const struct sc_manifest_void stretch = {3, 64 + 40, 48};
    ck_assert_int_eq(sc_hint_build(&files, 3, SALT, &stretch, 1, why), SC_OK);
}
END_TEST

START_TEST(failed_building_leaves_the_old_hint)
{
    struct visits visits;
    add(6);
    build();
    for (uint64_t call = 1;; call++) {
        (void)sc_io_fault(SC_IO_ANY, call, EIO, false);
        enum sc_status status = sc_hint_build(&files, 3, SALT, NULL, 0, why);
        (void)sc_io_fault(0, 0, 0, false);
        ck_assert_int_eq(load(3, SALT, data.size, &visits), SC_OK);
        if (status == SC_OK) {
            ck_assert_uint_gt(call, 6);
            break;
        }
        ck_assert_int_eq(status, SC_IO);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hint");
    TCase *tcase = tcase_create("hint");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, hint_tells_of_every_record_in_order);
    tcase_add_test(tcase, hint_of_an_empty_file_is_fine);
    tcase_add_test(tcase, hint_of_another_file_is_refused);
    tcase_add_test(tcase, every_flip_and_every_cut_is_noticed_and_nothing_false_is_told);
    tcase_add_test(tcase, lost_stretch_forbids_a_hint_but_a_lost_value_does_not);
    tcase_add_test(tcase, failed_building_leaves_the_old_hint);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
