/* Records that are not in memory: an operation that needs one changes nothing and says what to
 * read; tried again it does what it would have done, whatever has happened meanwhile. */
#include "shard/reap.h"
#include "shard/segment.h"
#include "tests/check_main.h"
#include "tests/shard/cold.h"
#include "tests/shard/merging.h"

#include <errno.h>

static struct fixture f;
static struct sc_fetch fetch;

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.sync_ms = SC_BITCASK_SYNC_NEVER;
    f.options.file_size_max = 4096;
    fixture_open(&f);
    sc_io_pretend_cold(1);
    fetch = (struct sc_fetch){0};
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_fetch_fini(&fetch);
    fixture_fini(&f);
}

static struct sc_slice key_of(const char *key)
{
    return sc_slice_str(key);
}

/* ---- Operations that do not wait: each lends the fetch. Those on integers use the key "n". ----
 */

static char value[65536];
static struct sc_bitcask_meta meta;
static int64_t number;

static enum sc_status cold_get(const char *key)
{
    struct sc_buf buf = {0};
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status = sc_bitcask_get(f.store, k, sc_slot_hash(k), &buf, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    if (status == SC_OK) {
        ck_assert_uint_lt(buf.size, sizeof value);
        memcpy(value, buf.data, buf.size);
        value[buf.size] = '\0';
    } else {
        ck_assert_uint_eq(buf.size, 0);
    }
    sc_buf_fini(&buf);
    return status;
}

static enum sc_status cold_meta(const char *key)
{
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status = sc_bitcask_meta(f.store, k, sc_slot_hash(k), &meta, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

static enum sc_status cold_touch(const char *key)
{
    const uint64_t ttl_ms = 3600000;
    uint64_t version;
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status =
        sc_bitcask_touch(f.store, k, sc_slot_hash(k), &ttl_ms, &version, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

static enum sc_status cold_incr(const char *key)
{
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status =
        sc_bitcask_incr(f.store, k, sc_slot_hash(k), 1, &number, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

static uint64_t known_version; /* for the two below */

static enum sc_status cold_put_if(const char *key)
{
    const struct sc_bitcask_write options = {.if_version = &known_version};
    uint64_t version;
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status = sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str("\xa3new"),
                                           &options, &version, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

static enum sc_status cold_del_if(const char *key)
{
    const struct sc_bitcask_write options = {.if_version = &known_version};
    bool existed;
    struct sc_slice k = key_of(key);
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status =
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, &existed, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

typedef enum sc_status cold_op(const char *key);

static void expect_wanted(enum sc_status status)
{
    ck_assert_int_eq(status, SC_BUSY);
    ck_assert(sc_fetch_wants(&fetch));
}

/* Does an operation with what it wants fetched, at most `rounds` times. */
static enum sc_status with_fetches(cold_op *op, const char *key, unsigned rounds)
{
    enum sc_status status = op(key);
    for (unsigned i = 0; i < rounds && status == SC_BUSY; i++) {
        cold_read(&fetch);
        status = op(key);
    }
    ck_assert(!sc_fetch_wants(&fetch));
    sc_fetch_fini(&fetch);
    return status;
}

/* ---- Every operation ---- */

static const struct {
    const char *name;
    cold_op *op;
} operations[] = {
    {"get", cold_get},   {"meta", cold_meta},  {"touch", cold_touch},
    {"incr", cold_incr}, {"put", cold_put_if}, {"del", cold_del_if},
};

START_TEST(an_operation_on_a_cold_record_changes_nothing_and_says_what_to_read)
{
    struct sc_bitcask_stats before;
    struct sc_bitcask_stats after;
    known_version = put(&f, "n", "\x2a");
    sc_bitcask_stats(f.store, &before);
    sc_bitcask_position appended = sc_bitcask_appended(f.store);
    expect_wanted(operations[_i].op("n"));
    ck_assert_uint_eq(fetch.count, 1);
    sc_bitcask_stats(f.store, &after);
    ck_assert_uint_eq(after.cold_reads, before.cold_reads + 1);
    after.cold_reads = before.cold_reads;
    ck_assert_mem_eq(&before, &after, sizeof before);
    ck_assert_uint_eq(sc_bitcask_appended(f.store), appended);
    expect(&f, "n", "\x2a");

    cold_read(&fetch);
    ck_assert_msg(operations[_i].op("n") == SC_OK, "%s: %s", operations[_i].name, f.why);
    sc_fetch_fini(&fetch);
    commit(&f);
    switch (_i) {
    case 0:
        ck_assert_str_eq(value, "\x2a");
        break;
    case 1:
        ck_assert_uint_eq(meta.version, known_version);
        ck_assert_uint_eq(meta.size, 1);
        break;
    case 2:
        ck_assert_int_eq(with_fetches(cold_meta, "n", 1), SC_OK);
        ck_assert(meta.has_ttl);
        break;
    case 3:
        expect(&f, "n", "\x2b");
        break;
    case 4:
        expect(&f, "n", "\xa3new");
        break;
    default:
        expect(&f, "n", NULL);
        break;
    }
}
END_TEST

START_TEST(what_needs_no_record_needs_no_disk)
{
    bool existed;
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = key_of("a");
    put(&f, "a", "1");
    (void)sc_io_fault(SC_IO_READ, 1, EIO, false);
    sc_bitcask_lend(f.store, &fetch);
    ck_assert_int_eq(sc_bitcask_exists(f.store, k, sc_slot_hash(k), &f.position), SC_OK);
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str("2"), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    ck_assert_int_eq(
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, &existed, &f.position, f.why), SC_OK);
    ck_assert(existed);
    ck_assert_uint_eq(sc_bitcask_count(f.store, NULL, &f.position), 0);
    sc_bitcask_lend(f.store, NULL);
    ck_assert_uint_eq(fetch.count, 0);
    ck_assert_int_eq(cold_get("never there"), SC_NOTFOUND);
}
END_TEST

START_TEST(a_record_in_the_write_buffer_is_in_memory)
{
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = key_of("a");
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str("buffered"), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    ck_assert_int_eq(cold_get("a"), SC_OK);
    ck_assert_str_eq(value, "buffered");
    commit(&f);
    expect_wanted(cold_get("a"));
}
END_TEST

START_TEST(without_a_fetch_operations_wait_for_the_disk)
{
    put(&f, "a", "1");
    expect(&f, "a", "1");
    expect_wanted(cold_get("a"));
    expect(&f, "a", "1");
}
END_TEST

START_TEST(large_records_are_fetched_whole)
{
    static char large[40000];
    memset(large, 'l', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    put(&f, "large", large);
    put(&f, "n", "\x01");
    ck_assert_int_eq(with_fetches(cold_get, "large", 1), SC_OK);
    ck_assert_str_eq(value, large);
    ck_assert_int_eq(with_fetches(cold_meta, "large", 1), SC_OK);
    ck_assert_uint_eq(meta.size, strlen(large));
}
END_TEST

/* ---- What happens while it is fetched ---- */

START_TEST(an_overwrite_meanwhile_is_seen)
{
    put(&f, "a", "old");
    expect_wanted(cold_get("a"));
    put(&f, "a", "new");
    cold_read(&fetch);
    ck_assert_int_eq(with_fetches(cold_get, "a", 1), SC_OK);
    ck_assert_str_eq(value, "new");
}
END_TEST

START_TEST(a_deletion_meanwhile_is_seen)
{
    put(&f, "n", "\x01");
    expect_wanted(cold_get("n"));
    ck_assert(del(&f, "n"));
    cold_read(&fetch);
    ck_assert_int_eq(cold_get("n"), SC_NOTFOUND);
    ck_assert_int_eq(cold_incr("n"), SC_OK);
    ck_assert_int_eq(number, 1);
}
END_TEST

START_TEST(a_clear_meanwhile_is_seen)
{
    uint64_t removed;
    put(&f, "a", "1");
    expect_wanted(cold_touch("a"));
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    commit(&f);
    cold_read(&fetch);
    ck_assert_int_eq(cold_touch("a"), SC_NOTFOUND);
}
END_TEST

START_TEST(a_version_is_compared_with_the_newest)
{
    known_version = put(&f, "a", "1");
    expect_wanted(cold_put_if("a"));
    put(&f, "a", "2");
    cold_read(&fetch);
    ck_assert_int_eq(with_fetches(cold_put_if, "a", 1), SC_MISMATCH);
    expect(&f, "a", "2");
}
END_TEST

/* Tries the get beside a merge until the record has been moved. */
struct beside {
    bool moved;
    unsigned stayed; /* tries that found the record where it was */
};

static void get_beside(void *arg)
{
    struct beside *beside = arg;
    if (!beside->moved) {
        enum sc_status status = cold_get("key-1");
        beside->moved = status == SC_BUSY;
        beside->stayed += status == SC_OK ? 1 : 0; /* what was fetched is still the record */
        ck_assert(status == SC_OK || status == SC_BUSY);
    }
}

START_TEST(a_merge_moves_the_record_and_leaves_the_file_until_it_is_read)
{
    struct merging m;
    struct beside beside = {0};
    struct sc_reap_list list = {.count = 0};
    char name[16];
    char filling[500];
    memset(filling, 'f', sizeof filling - 1);
    filling[sizeof filling - 1] = '\0';
    put(&f, "key-1", "stays");
    for (int i = 0; i < 30; i++) {
        (void)snprintf(name, sizeof name, "key-%d", 2 + i % 3);
        put(&f, name, filling);
    }
    expect_wanted(cold_get("key-1"));
    cold_read(&fetch);
    merging_init(&m, &f);
    m.merge = sc_merge_alloc(f.store);
    sc_merge_configure(m.merge, &m.options);
    m.beside = get_beside;
    m.arg = &beside;
    ck_assert_int_eq(merge_once(&m), SC_OK);
    sc_merge_free(m.merge);
    ck_assert(beside.moved);
    ck_assert_uint_gt(beside.stayed, 0);
    cold_read(&fetch);
    ck_assert_int_eq(cold_get("key-1"), SC_OK);
    ck_assert_str_eq(value, "stays");
    size_t files = data_files(f.dir);
    ck_assert(!sc_reap_wanted(f.store));
    sc_fetch_fini(&fetch);
    ck_assert(sc_reap_wanted(f.store));
    sc_reap_take(f.store, &list);
    sc_reap_remove(f.store, &list);
    ck_assert_uint_eq(data_files(f.dir), files - 1);
    expect(&f, "key-1", "stays");
}
END_TEST

/* ---- What goes wrong ---- */

START_TEST(damage_is_found_in_what_was_fetched)
{
    char path[512];
    put(&f, "whole", "1");
    put(&f, "damaged", "2");
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    file_flip(path, bytes.size - 8, 0x10);
    sc_buf_fini(&bytes);
    ck_assert_int_eq(with_fetches(cold_get, "damaged", 1), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.why, ".data"));
    ck_assert_int_eq(with_fetches(cold_get, "whole", 1), SC_OK);
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.damaged_records, 1);
}
END_TEST

START_TEST(a_file_that_was_cut_off_is_damage)
{
    char path[512];
    put(&f, "a", "1");
    data_path(f.dir, 0, path);
    ck_assert_int_eq(truncate(path, SC_SEGMENT_HEADER_SIZE + 10), 0);
    ck_assert_int_eq(with_fetches(cold_get, "a", 1), SC_CORRUPT);
    sc_io_pretend_cold(0); /* what is there is in memory, but it is not enough */
    ck_assert_int_eq(with_fetches(cold_get, "a", 1), SC_CORRUPT);
}
END_TEST

START_TEST(a_read_error_is_told_and_may_pass)
{
    put(&f, "a", "1");
    expect_wanted(cold_get("a"));
    (void)sc_io_fault(SC_IO_READ, 1, EIO, true);
    cold_read(&fetch);
    ck_assert_int_eq(cold_get("a"), SC_IO);
    ck_assert_ptr_nonnull(strstr(f.why, strerror(EIO)));
    sc_fetch_fini(&fetch);
    ck_assert_int_eq(with_fetches(cold_get, "a", 1), SC_OK);
    ck_assert_str_eq(value, "1");
}
END_TEST

START_TEST(where_nobody_can_tell_operations_wait_for_the_disk)
{
    put(&f, "a", "1");
    (void)sc_io_fault(SC_IO_READ, 1, EOPNOTSUPP, true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(cold_get("a"), SC_OK);
        ck_assert_str_eq(value, "1");
    }
}
END_TEST

/* ---- Scans ---- */

static unsigned seen;

static void see(void *arg, struct sc_slice key, struct sc_slice found)
{
    (void)arg;
    ck_assert(key.size > 0);
    ck_assert_uint_eq(found.size, 200);
    seen++;
}

static enum sc_status scan(struct sc_buf *cursor, size_t bytes_max)
{
    const struct sc_bitcask_scan options = {
        .cursor = sc_buf_slice(cursor),
        .last_slot = SC_SLOT_COUNT - 1,
        .limit = 1000,
        .values = true,
        .bytes_max = bytes_max,
        .visits_max = 1000,
    };
    seen = 0;
    sc_bitcask_lend(f.store, &fetch);
    enum sc_status status =
        sc_bitcask_scan(f.store, &options, see, NULL, cursor, &f.position, f.why);
    sc_bitcask_lend(f.store, NULL);
    return status;
}

static void put_many(unsigned count)
{
    char name[16];
    char text[201];
    memset(text, 's', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(name, sizeof name, "key-%u", i);
        put(&f, name, text);
    }
}

START_TEST(a_page_of_a_scan_wants_all_its_values_at_once)
{
    struct sc_buf cursor = {0};
    put_many(50);
    unsigned found = 0;
    unsigned pages = 0;
    do {
        expect_wanted(scan(&cursor, 4000));
        ck_assert_uint_gt(fetch.count, 10);
        ck_assert_uint_lt(fetch.count, 25);
        unsigned wanted = (unsigned)fetch.count;
        cold_read(&fetch);
        ck_assert_int_eq(scan(&cursor, 4000), SC_OK);
        ck_assert_uint_eq(seen, wanted);
        sc_fetch_fini(&fetch);
        found += seen;
        pages++;
    } while (cursor.size > 0);
    ck_assert_uint_eq(found, 50);
    ck_assert_uint_gt(pages, 2);
    sc_buf_fini(&cursor);
}
END_TEST

START_TEST(a_page_ends_before_a_value_that_has_come_since)
{
    struct sc_buf cursor = {0};
    put_many(20);
    expect_wanted(scan(&cursor, 100000));
    cold_read(&fetch);
    put_many(40); /* all of them anew: the first that is met was not fetched */
    expect_wanted(scan(&cursor, 100000));
    cold_read(&fetch);
    char name[16];
    uint64_t greatest = 0;
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "key-%u", i);
        uint64_t hash = sc_slot_hash(key_of(name));
        greatest = hash > greatest ? hash : greatest;
    }
    char text[201];
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "key-%u", i);
        if (sc_slot_hash(key_of(name)) == greatest) {
            put(&f, name, text);
        }
    }
    ck_assert_int_eq(scan(&cursor, 100000), SC_OK);
    ck_assert_uint_eq(seen, 39);
    ck_assert_uint_gt(cursor.size, 0);
    sc_fetch_fini(&fetch);
    expect_wanted(scan(&cursor, 100000));
    cold_read(&fetch);
    ck_assert_int_eq(scan(&cursor, 100000), SC_OK);
    ck_assert_uint_eq(seen, 1);
    ck_assert_uint_eq(cursor.size, 0);
    sc_buf_fini(&cursor);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cold");
    TCase *tcase = tcase_create("cold");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, an_operation_on_a_cold_record_changes_nothing_and_says_what_to_read,
                        0, (int)(sizeof operations / sizeof *operations));
    tcase_add_test(tcase, what_needs_no_record_needs_no_disk);
    tcase_add_test(tcase, a_record_in_the_write_buffer_is_in_memory);
    tcase_add_test(tcase, without_a_fetch_operations_wait_for_the_disk);
    tcase_add_test(tcase, large_records_are_fetched_whole);
    tcase_add_test(tcase, an_overwrite_meanwhile_is_seen);
    tcase_add_test(tcase, a_deletion_meanwhile_is_seen);
    tcase_add_test(tcase, a_clear_meanwhile_is_seen);
    tcase_add_test(tcase, a_version_is_compared_with_the_newest);
    tcase_add_test(tcase, a_merge_moves_the_record_and_leaves_the_file_until_it_is_read);
    tcase_add_test(tcase, damage_is_found_in_what_was_fetched);
    tcase_add_test(tcase, a_file_that_was_cut_off_is_damage);
    tcase_add_test(tcase, a_read_error_is_told_and_may_pass);
    tcase_add_test(tcase, where_nobody_can_tell_operations_wait_for_the_disk);
    tcase_add_test(tcase, a_page_of_a_scan_wants_all_its_values_at_once);
    tcase_add_test(tcase, a_page_ends_before_a_value_that_has_come_since);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
