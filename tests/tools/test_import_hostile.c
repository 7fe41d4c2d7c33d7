/* Files that were cut, damaged or made up: nothing is read outside of them, nothing takes for ever,
 * and what has checksums never gives a wrong value.
 *
 * The parsers run on copies in memory of exactly their size, where a sanitizer sees each byte too
 * many. SC_TEST_FUZZ_MS says how long each format is fuzzed. */
#include "tests/tools/import_fixture.h"
#include "tools/basho.h"
#include "tools/pybitcask.h"
#include "tools/rdb.h"

#define FUZZ_MS_DEFAULT 300

static struct sc_crc crc;

static uint64_t fuzz_until(void)
{
    const char *given = getenv("SC_TEST_FUZZ_MS");
    uint64_t ms = given != NULL ? strtoull(given, NULL, 10) : FUZZ_MS_DEFAULT;
    return sc_clock_wall_us() + ms * 1000;
}

static bool is_within(struct sc_slice part, struct sc_slice bytes)
{
    const uint8_t *from = bytes.data;
    const uint8_t *at = part.data;
    return part.size == 0 || (at >= from && at + part.size <= from + bytes.size);
}

/* ---- The parsers: each reads everything in the bytes ---- */

static void parse_pybitcask(struct sc_slice bytes)
{
    const uint8_t *start = bytes.data;
    size_t at = 0;
    while (at < bytes.size) {
        struct sc_slice rest = sc_slice(start + at, bytes.size - at);
        struct sc_pybitcask_record record;
        if (sc_pybitcask_read(rest, &record)) {
            must(record.size > 0 && record.size <= rest.size);
            must(is_within(record.key, rest) && is_within(record.value, rest));
            at += record.size;
        } else {
            size_t next = sc_pybitcask_find(rest, 1);
            must(next >= 1 && next <= rest.size);
            at += next;
        }
    }
}

static void parse_basho(struct sc_slice bytes)
{
    const uint8_t *start = bytes.data;
    size_t at = 0;
    while (at < bytes.size) {
        struct sc_slice rest = sc_slice(start + at, bytes.size - at);
        struct sc_basho_entry entry;
        if (sc_basho_read(&crc, rest, &entry) && entry.good) {
            must(entry.size <= rest.size);
            must(is_within(entry.key, rest) && is_within(entry.value, rest));
            at += (size_t)entry.size;
        } else {
            at += sc_basho_find(&crc, rest, 1);
        }
    }
}

static void parse_hints(struct sc_slice bytes)
{
    struct sc_basho_hints hints;
    struct sc_basho_hint hint;
    uint64_t at = 0;
    /* What is in it is never looked at when its checksum is wrong, so take it for good. */
    (void)sc_basho_hints_open(&crc, bytes, &hints);
    hints = (struct sc_basho_hints){bytes.data, (const uint8_t *)bytes.data + bytes.size};
    while (sc_basho_hints_seek(&hints, at, &hint)) {
        must(hint.offset >= at && is_within(hint.key, bytes));
        at = hint.offset + 1;
    }
}

static void parse_rdb(struct sc_slice bytes)
{
    struct sc_rdb rdb;
    struct sc_rdb_item item;
    struct sc_buf out = {0};
    char why[SC_WHY_SIZE];
    if (!sc_rdb_open(&rdb, bytes)) {
        return;
    }
    while (sc_rdb_next(&rdb, &item, why) && item.kind != SC_RDB_END) {
        must(item.offset < bytes.size);
        if (item.kind == SC_RDB_KEY && item.type == SC_RDB_STRING &&
            item.value.size < ((size_t)1 << 20) && item.key.size < ((size_t)1 << 20)) {
            out.size = 0;
            must(!sc_rdb_string_put(&item.key, &out) || out.size == item.key.size);
            out.size = 0;
            must(!sc_rdb_string_put(&item.value, &out) || out.size == item.value.size);
        }
    }
    sc_buf_fini(&out);
}

/* ---- Cuts, flips and mutations ---- */

struct subject {
    const char *file;
    void (*parse)(struct sc_slice bytes);
};

static const struct subject subjects[] = {
    {"pybitcask-proto/reopened/data_11.db", parse_pybitcask},
    {"pybitcask-json/torn/data_10.db", parse_pybitcask},
    {"pybitcask-mixed/switched/data_3.db", parse_pybitcask},
    {"basho-bitcask/old-tombstones/2.bitcask.data", parse_basho},
    {"basho-bitcask/old-tombstones/2.bitcask.hint", parse_hints},
    {"redis-lfu.rdb", parse_rdb},
    {"redis.rdb", parse_rdb},
};
#define SUBJECTS (sizeof subjects / sizeof *subjects)
#define CUT_MAX ((size_t)8192) /* of a larger file, the beginning is cut and flipped everywhere */

static void parse_copy(const struct subject *subject, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = sc_alloc(size > 0 ? size : 1);
    memcpy(copy, bytes, size);
    subject->parse(sc_slice(copy, size));
    free(copy);
}

START_TEST(a_cut_anywhere_does_no_harm)
{
    const struct subject *subject = &subjects[_i];
    struct sc_buf bytes = read_file(sample_path(subject->file));
    for (size_t size = 0; size <= bytes.size && size <= CUT_MAX; size++) {
        parse_copy(subject, bytes.data, size);
    }
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(a_flipped_bit_anywhere_does_no_harm)
{
    const struct subject *subject = &subjects[_i];
    struct sc_buf bytes = read_file(sample_path(subject->file));
    size_t size = bytes.size < CUT_MAX ? bytes.size : CUT_MAX;
    for (size_t at = 0; at < size; at++) {
        bytes.data[at] ^= (uint8_t)(1u << (at % 8));
        parse_copy(subject, bytes.data, size);
        bytes.data[at] ^= (uint8_t)(1u << (at % 8));
    }
    sc_buf_fini(&bytes);
}
END_TEST

/* Changes a copy in one of the ways that get a parser into trouble; returns its new size. */
static size_t mutate(struct test_random *random, uint8_t *bytes, size_t size, size_t room)
{
    static const uint8_t favourites[] = {0x00, 0x01, 0x02, 0x0a, 0x12, 0x18, 0x3f,
                                         0x7b, 0x7f, 0x80, 0x81, 0xc3, 0xff};
    size_t at = test_random_below(random, size);
    size_t from = test_random_below(random, size);
    size_t count = 1 + test_random_below(random, 40);
    count = count < size - at ? count : size - at;
    count = count < size - from ? count : size - from;
    switch (test_random_below(random, 6)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << test_random_below(random, 8));
        return size;
    case 1:
        bytes[at] = favourites[test_random_below(random, sizeof favourites)];
        return size;
    case 2: /* a piece copied over another */
        memmove(bytes + at, bytes + from, count);
        return size;
    case 3: /* a piece taken out */
        memmove(bytes + at, bytes + at + count, size - at - count);
        return size - count > 0 ? size - count : size;
    case 4: /* a piece put in */
        if (size + count > room) {
            return size;
        }
        memmove(bytes + at + count, bytes + at, size - at);
        return size + count;
    default:
        memset(bytes + at, (int)favourites[test_random_below(random, sizeof favourites)], count);
        return size;
    }
}

START_TEST(mutations_do_no_harm)
{
    const struct subject *subject = &subjects[_i];
    struct test_random random = test_random_start(subject->file);
    struct sc_buf bytes = read_file(sample_path(subject->file));
    uint8_t *copy = sc_alloc(bytes.size + 4096);
    for (uint64_t until = fuzz_until(); sc_clock_wall_us() < until;) {
        /* A piece of a large file, so that many are tried; an RDB file with its beginning. */
        size_t size = bytes.size < CUT_MAX ? bytes.size : CUT_MAX;
        memcpy(copy, bytes.data, size);
        for (uint64_t n = 1 + test_random_below(&random, 8); n > 0; n--) {
            size = mutate(&random, copy, size, bytes.size + 4096);
        }
        parse_copy(subject, copy, size);
    }
    free(copy);
    sc_buf_fini(&bytes);
}
END_TEST

/* ---- Whole readers: what has checksums ---- */

/* Imports the bytes as a file, salvaging or not. */
static struct outcome import_rdb_bytes(const char *dir, const uint8_t *bytes, size_t size,
                                       bool salvage)
{
    char path[PATH_MAX + 64];
    write_file(dir, "dump.rdb", sc_slice(bytes, size));
    snprintf(path, sizeof path, "%s/dump.rdb", dir);
    return import_with(&sc_import_rdb, path,
                       (struct sc_import_options){.db = -1, .salvage = salvage});
}

START_TEST(no_damaged_rdb_file_is_imported)
{
    char dir[PATH_MAX];
    make_dir(dir);
    struct test_random random = test_random_start("no_damaged_rdb_file_is_imported");
    struct sc_buf bytes = read_file(sample_path("redis-lru.rdb"));
    for (int i = 0; i < 200; i++) {
        size_t at = test_random_below(&random, bytes.size);
        bytes.data[at] ^= (uint8_t)(1u << test_random_below(&random, 8));
        struct outcome outcome = import_rdb_bytes(dir, bytes.data, bytes.size, false);
        must(outcome.failed && outcome.imported == 0);
        outcome_fini(&outcome);
        outcome = import_rdb_bytes(dir, bytes.data, bytes.size, true);
        must(outcome.failed || outcome.count > outcome.imported); /* it is told */
        outcome_fini(&outcome);
        sc_buf_fini(&bytes);
        bytes = read_file(sample_path("redis-lru.rdb"));
        outcome = import_rdb_bytes(dir, bytes.data, test_random_below(&random, bytes.size), false);
        must(outcome.failed && outcome.imported == 0);
        outcome_fini(&outcome);
    }
    sc_buf_fini(&bytes);
    remove_file(dir, "dump.rdb");
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

static const char *const basho_files[] = {
    "1.bitcask.data",  "2.bitcask.data",  "3.bitcask.data",  "11.bitcask.data",
    "12.bitcask.data", "13.bitcask.data", "1.bitcask.hint",  "2.bitcask.hint",
    "3.bitcask.hint",  "11.bitcask.hint", "12.bitcask.hint", "13.bitcask.hint",
};
#define BASHO_FILES (sizeof basho_files / sizeof *basho_files)

/* Each key has the value that it has without the damage, or is told to be left out; no other key
 * comes out. */
static void check_never_wrong(const struct outcome *whole, const struct outcome *damaged)
{
    for (size_t i = 0; i < damaged->count; i++) {
        const struct found *found = &damaged->found[i];
        const struct found *wanted =
            bsearch(found, whole->found, whole->count, sizeof *found, compare_found);
        must(!found->imported || (wanted != NULL && wanted->value == found->value));
    }
    must(damaged->imported == whole->imported || damaged->count > damaged->imported);
}

START_TEST(no_damage_beside_hints_gives_a_wrong_value)
{
    char dir[PATH_MAX];
    make_dir(dir);
    struct test_random random = test_random_start("no_damage_beside_hints_gives_a_wrong_value");
    struct sc_buf contents[BASHO_FILES];
    for (size_t i = 0; i < BASHO_FILES; i++) {
        char name[128];
        snprintf(name, sizeof name, "basho-bitcask/old-tombstones/%s", basho_files[i]);
        contents[i] = read_file(sample_path(name));
        write_file(dir, basho_files[i], sc_buf_slice(&contents[i]));
    }
    struct outcome whole = import_path(&sc_import_basho, dir);
    ck_assert_uint_eq(whole.imported, 30);
    for (int i = 0; i < 400; i++) {
        size_t file = test_random_below(&random, BASHO_FILES);
        struct sc_buf *content = &contents[file];
        size_t at = test_random_below(&random, content->size);
        uint8_t bit = (uint8_t)(1u << test_random_below(&random, 8));
        bool cut = test_random_below(&random, 4) == 0;
        content->data[at] ^= bit;
        write_file(dir, basho_files[file], sc_slice(content->data, cut ? at : content->size));
        content->data[at] ^= bit;
        struct outcome outcome = import_path(&sc_import_basho, dir);
        must(!outcome.failed);
        check_never_wrong(&whole, &outcome);
        outcome_fini(&outcome);
        write_file(dir, basho_files[file], sc_buf_slice(content));
    }
    for (size_t i = 0; i < BASHO_FILES; i++) {
        remove_file(dir, basho_files[i]);
        sc_buf_fini(&contents[i]);
    }
    outcome_fini(&whole);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import_hostile");
    TCase *tcase = tcase_create("import_hostile");
    sc_crc_init(&crc, SC_CRC_32);
    tcase_add_loop_test(tcase, a_cut_anywhere_does_no_harm, 0, SUBJECTS);
    tcase_add_loop_test(tcase, a_flipped_bit_anywhere_does_no_harm, 0, SUBJECTS);
    tcase_add_loop_test(tcase, mutations_do_no_harm, 0, SUBJECTS);
    tcase_add_test(tcase, no_damaged_rdb_file_is_imported);
    tcase_add_test(tcase, no_damage_beside_hints_gives_a_wrong_value);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
