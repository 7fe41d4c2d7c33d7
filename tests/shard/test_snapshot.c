/* Snapshots: what is read is what there was, whatever is written and merged meanwhile. */
#include "shard/snapshot.h"

#include "common/clock.h"
#include "shard/bitcask_impl.h"
#include "tests/check_main.h"
#include "tests/random.h"
#include "tests/shard/merging.h"

enum { KEYS = 400, ROUNDS = 12 };

static struct fixture f;
static struct merging m;

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = 8192;
    merging_init(&m, &f);
    merging_open(&m);
}

static void teardown(void)
{
    sc_clock_shift(0);
    sc_merge_free(m.merge);
    fixture_fini(&f);
}

/* What the model knows of a key. */
struct known {
    bool there;
    char value[40];
    uint64_t version;
    uint64_t expires_ms; /* roughly; 0: never */
};

static struct known now[KEYS];
static struct test_random rng;
static unsigned written;

static struct sc_slice key_of(size_t i, char room[16])
{
    (void)snprintf(room, 16, "key-%zu", i);
    return sc_slice_str(room);
}

static void put_key(size_t i, const uint64_t *ttl_ms)
{
    char room[16];
    struct sc_slice key = key_of(i, room);
    const struct sc_bitcask_write options = {.ttl_ms = ttl_ms};
    struct known *known = &now[i];
    (void)snprintf(known->value, sizeof known->value, "value %u of %zu", ++written, i);
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str(known->value),
                                    &options, &known->version, &f.position, f.why),
                     SC_OK);
    known->there = true;
    known->expires_ms = ttl_ms != NULL ? sc_clock_wall_us() / 1000 + *ttl_ms : 0;
}

static void del_key(size_t i)
{
    char room[16];
    struct sc_slice key = key_of(i, room);
    const struct sc_bitcask_write options = {0};
    bool existed;
    ck_assert_int_eq(
        sc_bitcask_del(f.store, key, sc_slot_hash(key), &options, &existed, &f.position, f.why),
        SC_OK);
    ck_assert(existed == now[i].there);
    now[i].there = false;
}

/* A few random changes. */
static void change(void *unused)
{
    static const uint64_t ttl_ms = 3600000;
    (void)unused;
    for (int n = 0; n < 20; n++) {
        size_t i = test_random_below(&rng, KEYS);
        if (test_random_below(&rng, 3) == 0) {
            del_key(i);
        } else {
            put_key(i, test_random_below(&rng, 2) == 0 ? &ttl_ms : NULL);
        }
    }
    if (test_random_below(&rng, 60) == 0) {
        uint64_t removed;
        ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
        for (size_t i = 0; i < KEYS; i++) {
            now[i].there = false;
        }
    }
    commit(&f);
}

static size_t index_of(struct sc_slice key)
{
    char text[16] = "";
    unsigned long i = KEYS;
    ck_assert_uint_lt(key.size, sizeof text);
    memcpy(text, key.data, key.size);
    ck_assert_int_eq(sscanf(text, "key-%lu", &i), 1);
    ck_assert_uint_lt(i, KEYS);
    return i;
}

static void check_record(const struct sc_snapshot_record *record, const struct known *then)
{
    size_t i = index_of(record->key);
    const struct known *known = &then[i];
    ck_assert_msg(record->status == SC_OK, "%s", record->why);
    ck_assert(known->there);
    ck_assert(sc_slice_equal(record->value, sc_slice_str(known->value)));
    ck_assert_uint_eq(record->version, known->version);
    ck_assert((known->expires_ms == 0) == (record->expires_ms == 0));
    ck_assert(llabs((long long)(record->expires_ms - known->expires_ms)) < 60000);
}

/* Reads the whole snapshot, with changes between the pages if `changing`, and compares. */
static void check_snapshot(struct sc_snapshot *snapshot, const struct known *then, bool changing)
{
    struct sc_snapshot_page page = {0};
    size_t found = 0;
    size_t expected = 0;
    do {
        struct sc_slice cursor = sc_buf_slice(&page.next);
        ck_assert_int_eq(sc_snapshot_collect(snapshot, cursor, &page, f.why), SC_OK);
        sc_snapshot_prefetch(&page);
        for (size_t i = 0; i < page.count; i++) {
            struct sc_snapshot_record record;
            sc_snapshot_read(&page, i, &record);
            check_record(&record, then);
        }
        found += page.count;
        if (changing) {
            change(NULL);
            (void)merge_once(&m);
        }
    } while (!page.end);
    sc_snapshot_page_fini(&page);
    for (size_t i = 0; i < KEYS; i++) {
        expected += then[i].there ? 1 : 0;
    }
    ck_assert_uint_eq(found, expected);
    ck_assert_uint_eq(sc_snapshot_keys(snapshot), expected);
}

START_TEST(later_writes_clears_and_merges_are_not_seen)
{
    rng = test_random_start("snapshot");
    static struct known then[2][KEYS];
    struct sc_snapshot *snapshots[2] = {NULL, NULL};
    m.beside = change;
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t s = round % 2;
        change(NULL);
        if (snapshots[s] != NULL) {
            check_snapshot(snapshots[s], then[s], true);
            sc_snapshot_close(snapshots[s]);
        }
        commit(&f);
        memcpy(then[s], now, sizeof now);
        snapshots[s] = sc_snapshot_open(f.store, NULL, 0);
        for (int i = 0; i < 10; i++) {
            change(NULL);
            (void)merge_once(&m);
        }
    }
    for (size_t s = 0; s < 2; s++) {
        check_snapshot(snapshots[s], then[s], false);
        sc_snapshot_close(snapshots[s]);
    }
    m.beside = NULL;
    ck_assert_uint_gt(merge_figures(&m).merges, 5);
    merge_all(&m);
    merging_reopen(&m);
    for (size_t i = 0; i < KEYS; i++) {
        char room[16];
        (void)key_of(i, room);
        expect(&f, room, now[i].there ? now[i].value : NULL);
    }
}
END_TEST

static struct sc_bitcask_stats stats(void)
{
    struct sc_bitcask_stats figures;
    sc_bitcask_stats(f.store, &figures);
    return figures;
}

static void put_all(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        put_key(i, NULL);
    }
    commit(&f);
}

static void reap(void)
{
    struct sc_reap_list list = {.count = 0};
    sc_reap_take(f.store, &list);
    sc_reap_remove(f.store, &list);
}

START_TEST(merged_files_stay_for_those_who_were_there_before_only)
{
    static struct known then[KEYS];
    put_all();
    memcpy(then, now, sizeof now);
    struct sc_snapshot *early = sc_snapshot_open(f.store, NULL, 0);
    put_all();
    compact(&m);
    uint64_t held = stats().held_bytes;
    ck_assert_uint_gt(held, 0);
    ck_assert_uint_eq(stats().dead_bytes, 0);
    struct sc_snapshot *late = sc_snapshot_open(f.store, NULL, 0);
    size_t files = data_files(f.dir);
    reap();
    ck_assert_uint_eq(data_files(f.dir), files);
    check_snapshot(early, then, false);
    ck_assert(!sc_reap_wanted(f.store));
    sc_snapshot_close(early);
    ck_assert(sc_reap_wanted(f.store));
    reap();
    ck_assert(!sc_reap_wanted(f.store));
    ck_assert_uint_eq(stats().held_bytes, 0);
    ck_assert_uint_lt(data_files(f.dir), files);
    check_snapshot(late, now, false);
    sc_snapshot_close(late);
}
END_TEST

START_TEST(files_that_were_held_when_the_process_died_are_removed_by_the_next_opening)
{
    put_all();
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 0);
    put_all();
    compact(&m);
    size_t files = data_files(f.dir);
    sc_snapshot_close(snapshot);
    merging_kill(&m);
    merging_open(&m);
    ck_assert_uint_lt(data_files(f.dir), files);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 0);
    for (size_t i = 0; i < KEYS; i++) {
        char room[16];
        (void)key_of(i, room);
        expect(&f, room, now[i].value);
    }
}
END_TEST

START_TEST(keys_that_expire_meanwhile_are_left_out)
{
    static const uint64_t ttl_ms = 60000;
    struct sc_snapshot_page page = {0};
    put_key(0, &ttl_ms);
    put_key(1, NULL);
    commit(&f);
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 0);
    put_key(0, NULL); /* what the snapshot knows still expires */
    commit(&f);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    ck_assert_uint_eq(page.count, 2);
    sc_clock_shift(61000000);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    ck_assert_uint_eq(page.count, 1);
    ck_assert(page.end);
    sc_snapshot_page_fini(&page);
    sc_snapshot_close(snapshot);
}
END_TEST

START_TEST(damaged_records_are_told_with_their_keys_and_the_others_go_on)
{
    char path[512];
    put(&f, "key-1", "one");
    uint64_t offset = f.store->writer.active->size;
    put(&f, "key-2", "two");
    put(&f, "key-3", "three");
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 0);
    struct sc_snapshot_page page = {0};
    data_path(f.dir, 0, path);
    file_flip(path, offset + SC_RECORD_HEADER_SIZE + 5, 1);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    ck_assert_uint_eq(page.count, 3);
    for (size_t i = 0; i < page.count; i++) {
        struct sc_snapshot_record record;
        sc_snapshot_read(&page, i, &record);
        bool is_damaged = sc_slice_equal(record.key, sc_slice_str("key-2"));
        ck_assert_int_eq(record.status, is_damaged ? SC_CORRUPT : SC_OK);
        ck_assert(!is_damaged || strstr(record.why, "is damaged") != NULL);
    }
    sc_snapshot_page_fini(&page);
    sc_snapshot_close(snapshot);
}
END_TEST

START_TEST(nothing_is_told_before_it_is_committed)
{
    struct sc_snapshot_page page = {0};
    put_key(0, NULL);
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 0);
    ck_assert_uint_gt(sc_snapshot_position(snapshot), sc_bitcask_committed(f.store));
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_BUSY);
    commit(&f);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    ck_assert_uint_eq(page.count, 1);
    sc_snapshot_page_fini(&page);
    sc_snapshot_close(snapshot);
}
END_TEST

START_TEST(a_snapshot_that_needs_too_much_memory_says_so)
{
    struct sc_snapshot_page page = {0};
    put_all();
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 1);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    put_all();
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_buf_slice(&page.next), &page, f.why),
                     SC_BUSY);
    ck_assert_ptr_nonnull(strstr(f.why, "snapshot_memory"));
    sc_snapshot_page_fini(&page);
    sc_snapshot_close(snapshot);
}
END_TEST

START_TEST(a_page_may_be_asked_for_again_but_not_one_that_was_passed)
{
    struct sc_snapshot_page page = {0};
    char first[64];
    for (int i = 0; i < 3000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%d", i);
        put(&f, key, "value");
    }
    struct sc_snapshot *snapshot = sc_snapshot_open(f.store, NULL, 0);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_OK);
    ck_assert_uint_eq(page.count, SC_SNAPSHOT_PAGE_KEYS);
    size_t size = page.next.size;
    memcpy(first, page.next.data, size);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(first, size), &page, f.why), SC_OK);
        ck_assert_uint_eq(page.count, SC_SNAPSHOT_PAGE_KEYS);
    }
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_buf_slice(&page.next), &page, f.why), SC_OK);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(first, size), &page, f.why),
                     SC_BADREQUEST);
    ck_assert_int_eq(sc_snapshot_collect(snapshot, sc_slice(NULL, 0), &page, f.why), SC_BADREQUEST);
    sc_snapshot_page_fini(&page);
    sc_snapshot_close(snapshot);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("snapshot");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, later_writes_clears_and_merges_are_not_seen);
    tcase_add_test(tests, merged_files_stay_for_those_who_were_there_before_only);
    tcase_add_test(tests,
                   files_that_were_held_when_the_process_died_are_removed_by_the_next_opening);
    tcase_add_test(tests, keys_that_expire_meanwhile_are_left_out);
    tcase_add_test(tests, damaged_records_are_told_with_their_keys_and_the_others_go_on);
    tcase_add_test(tests, nothing_is_told_before_it_is_committed);
    tcase_add_test(tests, a_snapshot_that_needs_too_much_memory_says_so);
    tcase_add_test(tests, a_page_may_be_asked_for_again_but_not_one_that_was_passed);
    Suite *suite = suite_create("snapshot");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
