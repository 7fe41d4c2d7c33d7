#include "shard/walk.h"

#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <fcntl.h>

#define SALT UINT64_C(0xfeedface12345678)
#define START 64u

static char dir[256];
static char path[300];
static struct sc_buf file;

static void setup(void)
{
    temporary_dir(dir);
    (void)snprintf(path, sizeof path, "%s/records", dir);
    memset(sc_buf_reserve(&file, START), 0, START);
    file.size = START;
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_buf_fini(&file);
    dir_remove(dir);
}

/* Appends a record; returns its offset. */
static uint64_t add(const char *key, size_t value_size)
{
    struct sc_buf value = {0};
    uint64_t offset = file.size;
    memset(sc_buf_reserve(&value, value_size + 1), 'v', value_size);
    const struct sc_record record = {
        .version = offset,
        .kind = SC_RECORD_PUT,
        .key = sc_slice_str(key),
        .value = {value.data, value_size},
    };
    size_t size = (size_t)sc_record_size(record.key.size, value_size);
    sc_record_encode(sc_buf_reserve(&file, size), &record, SALT ^ offset);
    file.size += size;
    sc_buf_fini(&value);
    return offset;
}

/* What a walk finds: "r" whole, "v" bad value, "c" cut, "d" damage, and offsets. */
static void expect_walk(const char *expected, const struct sc_manifest_void *voids, size_t count)
{
    char text[1024] = "";
    struct sc_walk walk;
    struct sc_walk_item item;
    file_write(path, file.data, file.size);
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    sc_walk_init(&walk, fd, SALT, START, file.size, voids, count);
    while (sc_walk_next(&walk, &item)) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%c%d+%d ", "rvcd"[item.kind],
                       (int)item.offset, (int)item.size);
        if (item.kind == SC_WALK_RECORD) {
            ck_assert_uint_eq(item.record.version, item.offset);
            ck_assert(item.record.value.size == 0 ||
                      ((const uint8_t *)item.record.value.data)[item.record.value.size - 1] == 'v');
        }
    }
    ck_assert_int_eq(walk.status, SC_OK);
    sc_walk_fini(&walk);
    (void)close(fd);
    ck_assert_str_eq(text, expected);
}

START_TEST(records_come_one_after_the_other)
{
    expect_walk("", NULL, 0);
    (void)add("a", 7);
    (void)add("b", 8);
    (void)add("c", 0);
    expect_walk("r64+40 r104+48 r152+40 ", NULL, 0);
}
END_TEST

START_TEST(large_records_do_not_stop_it)
{
    (void)add("a", 3 << 20);
    (void)add("b", 10);
    (void)add("c", (1 << 20) - 40);
    (void)add("d", 10);
    expect_walk("r64+3145768 r3145832+48 r3145880+1048576 r4194456+48 ", NULL, 0);
}
END_TEST

START_TEST(damaged_header_is_one_stretch_to_the_next_record)
{
    (void)add("a", 100);
    (void)add("b", 10);
    (void)add("c", 10);
    file.data[START + 9] ^= 1;
    expect_walk("d64+136 r200+48 r248+48 ", NULL, 0);
    file.data[200 + 25] ^= 0x80; /* the size of b's value */
    expect_walk("d64+184 r248+48 ", NULL, 0);
    file.data[248] ^= 1;
    expect_walk("d64+232 ", NULL, 0);
}
END_TEST

START_TEST(damaged_value_is_known_by_its_key)
{
    (void)add("a", 100);
    (void)add("b", 10);
    file.data[START + 32 + 50] ^= 1;
    expect_walk("v64+136 r200+48 ", NULL, 0);
}
END_TEST

START_TEST(cut_record_is_known_as_long_as_its_key_is_there)
{
    (void)add("a", 7);
    (void)add("key", 100);
    file.size = 104 + 35 + 50;
    expect_walk("r64+40 c104+136 ", NULL, 0);
    file.size = 104 + 35;
    expect_walk("r64+40 c104+136 ", NULL, 0);
    file.size = 104 + 34;
    expect_walk("r64+40 d104+34 ", NULL, 0);
    file.size = 104 + 3;
    expect_walk("r64+40 d104+3 ", NULL, 0);
}
END_TEST

START_TEST(voids_are_passed_over)
{
    (void)add("a", 7);
    (void)add("b", 7);
    (void)add("c", 7);
    (void)add("d", 7);
    const struct sc_manifest_void one[] = {{1, 104, 40}};
    const struct sc_manifest_void two[] = {{1, 64, 40}, {1, 144, 80}};
    expect_walk("r64+40 r144+40 r184+40 ", one, 1);
    expect_walk("r104+40 ", two, 2);
    /* A damaged stretch ends where a void begins. */
    file.data[64] ^= 1;
    file.data[104] ^= 1;
    expect_walk("d64+40 r144+40 r184+40 ", one, 1);
}
END_TEST

START_TEST(failed_read_is_no_damage)
{
    struct sc_walk walk;
    struct sc_walk_item item;
    (void)add("a", 7);
    file_write(path, file.data, file.size);
    int fd = open(path, O_RDONLY);
    sc_walk_init(&walk, fd, SALT, START, file.size, NULL, 0);
    (void)sc_io_fault(SC_IO_READ, 1, EIO, true);
    ck_assert(!sc_walk_next(&walk, &item));
    ck_assert_int_eq(walk.status, SC_IO);
    ck_assert_int_eq(walk.error, EIO);
    sc_walk_fini(&walk);
    /* Nor is a file that has less than its size said. */
    sc_walk_init(&walk, fd, SALT, START, file.size + 40, NULL, 0);
    ck_assert(!sc_walk_next(&walk, &item));
    ck_assert_int_eq(walk.status, SC_IO);
    sc_walk_fini(&walk);
    (void)close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("walk");
    TCase *tcase = tcase_create("walk");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, records_come_one_after_the_other);
    tcase_add_test(tcase, large_records_do_not_stop_it);
    tcase_add_test(tcase, damaged_header_is_one_stretch_to_the_next_record);
    tcase_add_test(tcase, damaged_value_is_known_by_its_key);
    tcase_add_test(tcase, cut_record_is_known_as_long_as_its_key_is_there);
    tcase_add_test(tcase, voids_are_passed_over);
    tcase_add_test(tcase, failed_read_is_no_damage);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
