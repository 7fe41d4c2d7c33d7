/* Operations of the store, through its public header. */
#include "common/bytes.h"
#include "common/clock.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
    fixture_open(&f);
}

static void teardown(void)
{
    fixture_fini(&f);
}

START_TEST(what_was_put_is_got)
{
    uint64_t first = put(&f, "a", "one");
    uint64_t second = put(&f, "b", "two");
    ck_assert_uint_lt(first, second);
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    expect(&f, "c", NULL);
}
END_TEST

START_TEST(what_was_put_is_there_after_reopening)
{
    put(&f, "a", "one");
    put(&f, "a", "two");
    put(&f, "b", "three");
    put(&f, "gone", "four");
    ck_assert(del(&f, "gone"));
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", "two");
    expect(&f, "b", "three");
    expect(&f, "gone", NULL);
}
END_TEST

START_TEST(what_was_committed_survives_a_kill)
{
    put(&f, "a", "one");
    put(&f, "b", "two");
    ck_assert(del(&f, "a"));
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", NULL);
    expect(&f, "b", "two");
}
END_TEST

START_TEST(files_are_rotated_and_all_are_read_again)
{
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    char key[32];
    char value[64];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i % 300);
        (void)snprintf(value, sizeof value, "value-%d", i);
        put(&f, key, value);
    }
    ck_assert_uint_gt(data_files(f.dir), 10);
    for (int round = 0; round < 2; round++) {
        for (int i = 700; i < 1000; i++) {
            (void)snprintf(key, sizeof key, "key-%d", i % 300);
            (void)snprintf(value, sizeof value, "value-%d", i);
            expect(&f, key, value);
        }
        fixture_reopen(&f);
        ck_assert_uint_eq(f.event_count, 0);
    }
}
END_TEST

START_TEST(second_opener_is_told_that_it_is_busy)
{
    struct sc_bitcask *second;
    char why[SC_WHY_SIZE];
    ck_assert_int_eq(sc_bitcask_open(f.dir, &f.options, NULL, NULL, &second, why), SC_BUSY);
    ck_assert_ptr_nonnull(strstr(why, f.dir));
}
END_TEST

START_TEST(torn_tail_is_cut_before_anything_is_appended)
{
    char path[512];
    put(&f, "a", "one");
    put(&f, "b", "two");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf whole = file_read(path);
    /* What a write that was under way leaves behind: a part of a record. */
    sc_buf_append(&whole, whole.data + 64, 20);
    file_write(path, whole.data, whole.size);
    sc_buf_fini(&whole);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
    put(&f, "c", "three");
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    expect(&f, "c", "three");
}
END_TEST

/* ---- Conditions and expiry ---- */

static enum sc_status put_with(const char *key, const char *value, const uint64_t *ttl_ms,
                               const uint64_t *if_version)
{
    uint64_t version;
    struct sc_slice k = sc_slice_str(key);
    const struct sc_bitcask_write options = {.ttl_ms = ttl_ms, .if_version = if_version};
    enum sc_status status = sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(value),
                                           &options, &version, &f.position, f.why);
    commit(&f);
    return status;
}

static enum sc_status del_with(const char *key, const uint64_t *if_version, bool *existed)
{
    struct sc_slice k = sc_slice_str(key);
    const struct sc_bitcask_write options = {.if_version = if_version};
    enum sc_status status =
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, existed, &f.position, f.why);
    commit(&f);
    return status;
}

static enum sc_status meta_of(const char *key, struct sc_bitcask_meta *meta)
{
    struct sc_slice k = sc_slice_str(key);
    return sc_bitcask_meta(f.store, k, sc_slot_hash(k), meta, &f.position, f.why);
}

static bool exists(const char *key)
{
    struct sc_slice k = sc_slice_str(key);
    return sc_bitcask_exists(f.store, k, sc_slot_hash(k), &f.position) == SC_OK;
}

START_TEST(if_version_holds_or_nothing_changes)
{
    const uint64_t absent = 0;
    const uint64_t wrong = 12345;
    bool existed;
    ck_assert_int_eq(put_with("a", "x", NULL, &wrong), SC_MISMATCH);
    ck_assert_int_eq(put_with("a", "one", NULL, &absent), SC_OK);
    ck_assert_int_eq(put_with("a", "x", NULL, &absent), SC_MISMATCH);
    ck_assert_int_eq(put_with("a", "x", NULL, &wrong), SC_MISMATCH);
    expect(&f, "a", "one");
    struct sc_bitcask_meta meta;
    ck_assert_int_eq(meta_of("a", &meta), SC_OK);
    ck_assert_int_eq(put_with("a", "two", NULL, &meta.version), SC_OK);
    ck_assert_int_eq(put_with("a", "x", NULL, &meta.version), SC_MISMATCH);
    expect(&f, "a", "two");
    ck_assert_int_eq(del_with("a", &meta.version, &existed), SC_MISMATCH);
    ck_assert_int_eq(del_with("a", &absent, &existed), SC_MISMATCH);
    ck_assert_int_eq(meta_of("a", &meta), SC_OK);
    ck_assert_int_eq(del_with("a", &meta.version, &existed), SC_OK);
    ck_assert(existed);
    ck_assert_int_eq(del_with("a", &wrong, &existed), SC_MISMATCH);
    ck_assert_int_eq(del_with("a", &absent, &existed), SC_OK);
    ck_assert(!existed);
}
END_TEST

static void wait_until_gone(const char *key)
{
    uint64_t deadline_ms = sc_clock_mono_ms() + 20000;
    while (exists(key)) {
        ck_assert_uint_lt(sc_clock_mono_ms(), deadline_ms);
    }
}

static uint64_t count_all(void)
{
    return sc_bitcask_count(f.store, NULL, &f.position);
}

static enum sc_status incr(const char *key, int64_t delta, int64_t *result)
{
    struct sc_slice k = sc_slice_str(key);
    enum sc_status status =
        sc_bitcask_incr(f.store, k, sc_slot_hash(k), delta, result, &f.position, f.why);
    commit(&f);
    return status;
}

static void count_key(void *arg, struct sc_slice key, struct sc_slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)arg;
}

static unsigned scan_all(void)
{
    unsigned keys = 0;
    struct sc_buf next = {0};
    const struct sc_bitcask_scan scan = {
        .last_slot = SC_SLOT_COUNT - 1,
        .limit = UINT32_MAX,
        .bytes_max = SIZE_MAX,
        .visits_max = UINT64_MAX,
    };
    ck_assert_int_eq(sc_bitcask_scan(f.store, &scan, count_key, &keys, &next, &f.position, f.why),
                     SC_OK);
    ck_assert_uint_eq(next.size, 0);
    sc_buf_fini(&next);
    return keys;
}

START_TEST(expired_key_is_absent_for_every_operation)
{
    const uint64_t soon_ms = 1;
    const uint64_t absent = 0;
    const char *value;
    bool existed = true;
    struct sc_bitcask_meta meta;
    put(&f, "a", "older, must not come back");
    ck_assert_int_eq(put_with("a", "short-lived", &soon_ms, NULL), SC_OK);
    put(&f, "stays", "x");
    wait_until_gone("a");
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(get(&f, "a", &value), SC_NOTFOUND);
        ck_assert_int_eq(meta_of("a", &meta), SC_NOTFOUND);
        ck_assert_int_eq(scan_all(), 1);
        uint64_t version;
        struct sc_slice k = sc_slice_str("a");
        ck_assert_int_eq(
            sc_bitcask_touch(f.store, k, sc_slot_hash(k), NULL, &version, &f.position, f.why),
            SC_NOTFOUND);
        ck_assert_int_eq(del_with("a", NULL, &existed), SC_OK);
        ck_assert(!existed);
        fixture_reopen(&f);
    }
    ck_assert_uint_eq(count_all(), 1);
    ck_assert_int_eq(put_with("a", "again", NULL, &absent), SC_OK);
    expect(&f, "a", "again");
}
END_TEST

START_TEST(sweep_removes_what_has_expired)
{
    const uint64_t soon_ms = 1;
    struct sc_bitcask_stats stats;
    char key[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        ck_assert_int_eq(put_with(key, "x", i % 2 == 0 ? &soon_ms : NULL, NULL), SC_OK);
    }
    wait_until_gone("key-98");
    uint64_t swept = 0;
    for (int i = 0; i < 16; i++) {
        swept += sc_bitcask_sweep(f.store, SC_SLOT_COUNT / 16);
    }
    ck_assert_uint_eq(swept, 50);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.keys, 50);
    ck_assert_uint_eq(stats.expired, 50);
    ck_assert_uint_eq(stats.live_bytes, 50 * 40);
    ck_assert_uint_eq(sc_bitcask_sweep(f.store, SC_SLOT_COUNT), 0);
}
END_TEST

START_TEST(put_clears_an_expiry_and_touch_and_incr_mind_it)
{
    const uint64_t ttl_ms = 3600000;
    struct sc_bitcask_meta meta;
    uint64_t version;
    int64_t result;
    struct sc_slice k = sc_slice_str("n");
    ck_assert_int_eq(put_with("n", "\x05", &ttl_ms, NULL), SC_OK);
    ck_assert_int_eq(meta_of("n", &meta), SC_OK);
    ck_assert(meta.has_ttl && meta.ttl_ms <= ttl_ms && meta.ttl_ms > ttl_ms - 60000);
    ck_assert_uint_eq(meta.size, 1);
    ck_assert_int_eq(incr("n", 3, &result), SC_OK);
    ck_assert_int_eq(result, 8);
    ck_assert(meta_of("n", &meta) == SC_OK && meta.has_ttl);
    ck_assert_int_eq(
        sc_bitcask_touch(f.store, k, sc_slot_hash(k), NULL, &version, &f.position, f.why), SC_OK);
    commit(&f);
    ck_assert(meta_of("n", &meta) == SC_OK && !meta.has_ttl && meta.version == version);
    expect(&f, "n", "\x08");
    ck_assert_int_eq(
        sc_bitcask_touch(f.store, k, sc_slot_hash(k), &ttl_ms, &version, &f.position, f.why),
        SC_OK);
    commit(&f);
    ck_assert(meta_of("n", &meta) == SC_OK && meta.has_ttl);
    put(&f, "n", "\x01");
    ck_assert(meta_of("n", &meta) == SC_OK && !meta.has_ttl);
}
END_TEST

START_TEST(incr_adds_int64_and_refuses_what_is_none)
{
    int64_t result = 0;
    ck_assert_int_eq(incr("n", -7, &result), SC_OK);
    ck_assert_int_eq(result, -7);
    ck_assert_int_eq(incr("n", INT64_MIN + 7, &result), SC_OK);
    ck_assert_int_eq(result, INT64_MIN);
    ck_assert_int_eq(incr("n", -1, &result), SC_WRONGTYPE);
    ck_assert_int_eq(incr("n", INT64_MAX, &result), SC_OK);
    ck_assert_int_eq(result, -1);
    put(&f, "text", "\xa1x");
    ck_assert_int_eq(incr("text", 1, &result), SC_WRONGTYPE);
    expect(&f, "text", "\xa1x");
    put(&f, "large", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"); /* 2^64 - 1 */
    ck_assert_int_eq(incr("large", -1, &result), SC_WRONGTYPE);
    put(&f, "float", "\xca\x3f\x80\x01\x01");
    ck_assert_int_eq(incr("float", 1, &result), SC_WRONGTYPE);
}
END_TEST

/* ---- Many keys ---- */

static void put_many(int count)
{
    char key[32];
    char value[32];
    for (int i = 0; i < count; i++) {
        (void)snprintf(key, sizeof key, "%s-%d", i % 3 == 0 ? "three" : "other", i);
        (void)snprintf(value, sizeof value, "value-%d", i);
        put(&f, key, value);
    }
}

START_TEST(clear_removes_the_slots_asked_for_and_stays_done)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    uint64_t removed;
    memset(owned, 0xff, sizeof owned / 4);
    put_many(1000);
    uint64_t of_owned = sc_bitcask_count(f.store, owned, &f.position);
    ck_assert(of_owned > 150 && of_owned < 350);
    ck_assert_int_eq(sc_bitcask_clear(f.store, owned, &removed, &f.position, f.why), SC_OK);
    ck_assert_uint_eq(removed, of_owned);
    commit(&f);
    ck_assert_int_eq(sc_bitcask_clear(f.store, owned, &removed, &f.position, f.why), SC_OK);
    ck_assert_uint_eq(removed, 0);
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(count_all(), 1000 - of_owned);
        ck_assert_uint_eq(sc_bitcask_count(f.store, owned, &f.position), 0);
        fixture_reopen(&f);
    }
    put_many(1000);
    fixture_reopen(&f);
    ck_assert_uint_eq(count_all(), 1000);
}
END_TEST

START_TEST(clear_costs_one_record_a_run_of_slots)
{
    uint64_t removed;
    put_many(1000);
    struct sc_bitcask_stats before;
    struct sc_bitcask_stats after;
    sc_bitcask_stats(f.store, &before);
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    ck_assert_uint_eq(removed, 1000);
    commit(&f);
    sc_bitcask_stats(f.store, &after);
    ck_assert_uint_eq(after.tombstones, before.tombstones + 1);
    ck_assert_uint_eq(after.live_bytes, 0);
    ck_assert_uint_eq(after.keys, 0);
}
END_TEST

struct page {
    struct sc_buf keys;
    unsigned count;
};

static void add_to_page(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct page *page = arg;
    sc_buf_append_slice(&page->keys, key);
    sc_buf_append_slice(&page->keys, sc_slice_str(" "));
    ck_assert_uint_eq(value.size, 0);
    page->count++;
}

START_TEST(scan_with_a_prefix_finds_each_key_once)
{
    put_many(300);
    struct page page = {0};
    struct sc_buf cursor = {0};
    do {
        unsigned before = page.count;
        const struct sc_bitcask_scan scan = {
            .cursor = sc_buf_slice(&cursor),
            .last_slot = SC_SLOT_COUNT - 1,
            .prefix = sc_slice_str("three-"),
            .limit = 7,
            .bytes_max = SIZE_MAX,
            .visits_max = 12,
        };
        ck_assert_int_eq(
            sc_bitcask_scan(f.store, &scan, add_to_page, &page, &cursor, &f.position, f.why),
            SC_OK);
        ck_assert_uint_le(page.count, before + 7);
    } while (cursor.size > 0);
    ck_assert_uint_eq(page.count, 100);
    sc_buf_append(&page.keys, "", 1);
    ck_assert_ptr_null(strstr((char *)page.keys.data, "other"));
    sc_buf_fini(&page.keys);
    sc_buf_fini(&cursor);
}
END_TEST

START_TEST(scan_keeps_to_its_slots)
{
    put_many(2000);
    uint8_t owned[SC_SLOT_COUNT / 8];
    memset(owned, 0x55, sizeof owned);
    struct sc_buf cursor = {0};
    struct page page = {0};
    const struct sc_bitcask_scan scan = {
        .first_slot = 1000,
        .last_slot = 5001,
        .owned = owned,
        .limit = UINT32_MAX,
        .bytes_max = SIZE_MAX,
        .visits_max = UINT64_MAX,
    };
    ck_assert_int_eq(
        sc_bitcask_scan(f.store, &scan, add_to_page, &page, &cursor, &f.position, f.why), SC_OK);
    ck_assert_uint_eq(cursor.size, 0);
    unsigned expected = 0;
    char key[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "%s-%d", i % 3 == 0 ? "three" : "other", i);
        uint32_t slot = sc_slot_of_key(sc_slice_str(key));
        expected += slot >= 1000 && slot <= 5001 && slot % 2 == 0 ? 1 : 0;
    }
    ck_assert_uint_eq(page.count, expected);
    sc_buf_fini(&page.keys);
    sc_buf_fini(&cursor);
}
END_TEST

START_TEST(cursor_at_a_slot_starts_with_its_first_key)
{
    put_many(500);
    struct sc_buf cursor = {0};
    struct sc_slice key = sc_slice_str("three-33");
    uint32_t slot = sc_slot_of_key(key);
    sc_bitcask_cursor_at_slot(slot, &cursor);
    struct page page = {0};
    const struct sc_bitcask_scan scan = {
        .cursor = sc_buf_slice(&cursor),
        .last_slot = slot,
        .limit = 100,
        .bytes_max = SIZE_MAX,
        .visits_max = UINT64_MAX,
    };
    struct sc_buf next = {0};
    ck_assert_int_eq(sc_bitcask_scan(f.store, &scan, add_to_page, &page, &next, &f.position, f.why),
                     SC_OK);
    sc_buf_append(&page.keys, "", 1);
    ck_assert_ptr_nonnull(strstr((char *)page.keys.data, "three-33 "));
    sc_buf_fini(&page.keys);
    sc_buf_fini(&cursor);
    sc_buf_fini(&next);
}
END_TEST

START_TEST(cursor_that_is_none_of_ours_is_refused)
{
    static const char *const cursors[] = {"x", "1234567", "12345678and a key of another hash"};
    for (size_t i = 0; i < sizeof cursors / sizeof *cursors; i++) {
        unsigned keys = 0;
        struct sc_buf next = {0};
        const struct sc_bitcask_scan scan = {
            .cursor = sc_slice_str(cursors[i]),
            .last_slot = SC_SLOT_COUNT - 1,
            .limit = 1,
            .bytes_max = 1,
            .visits_max = 1,
        };
        ck_assert_int_eq(
            sc_bitcask_scan(f.store, &scan, count_key, &keys, &next, &f.position, f.why),
            SC_BADREQUEST);
        sc_buf_fini(&next);
    }
}
END_TEST

/* ---- Group commit ---- */

static sc_bitcask_position put_uncommitted(const char *key, const bool *sync)
{
    uint64_t version;
    sc_bitcask_position position;
    struct sc_slice k = sc_slice_str(key);
    const struct sc_bitcask_write options = {.sync = sync};
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str("value"), &options,
                                    &version, &position, f.why),
                     SC_OK);
    ck_assert_uint_gt(position, sc_bitcask_committed(f.store));
    return position;
}

START_TEST(answers_wait_for_the_writes_that_they_tell_of)
{
    const char *value;
    put(&f, "old", "one");
    sc_bitcask_position first = put_uncommitted("new", NULL);
    ck_assert_int_eq(get(&f, "new", &value), SC_OK);
    ck_assert_uint_eq(f.position, first);
    ck_assert_int_eq(get(&f, "old", &value), SC_OK);
    ck_assert_uint_le(f.position, sc_bitcask_committed(f.store));
    ck_assert_int_eq(get(&f, "nowhere", &value), SC_NOTFOUND);
    ck_assert_uint_le(f.position, sc_bitcask_committed(f.store));

    struct sc_bitcask_commit *under_way = sc_bitcask_commit_begin(f.store, false);
    sc_bitcask_position second = put_uncommitted("newer", NULL);
    bool existed;
    struct sc_slice k = sc_slice_str("old");
    const struct sc_bitcask_write options = {0};
    ck_assert_int_eq(
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, &existed, &f.position, f.why), SC_OK);
    ck_assert_int_eq(get(&f, "new", &value), SC_OK);
    ck_assert_int_eq(get(&f, "newer", &value), SC_OK);
    ck_assert_uint_eq(f.position, second);
    sc_bitcask_commit_run(under_way);
    ck_assert_int_eq(sc_bitcask_commit_end(f.store, under_way), SC_OK);
    ck_assert_uint_eq(sc_bitcask_committed(f.store), first);
    ck_assert_int_eq(get(&f, "old", &value), SC_NOTFOUND);
    ck_assert_uint_gt(f.position, sc_bitcask_committed(f.store));
    ck_assert(sc_bitcask_commit_wanted(f.store));
    commit(&f);
    ck_assert(!sc_bitcask_commit_wanted(f.store));
    ck_assert_uint_eq(sc_bitcask_committed(f.store), sc_bitcask_appended(f.store));
}
END_TEST

START_TEST(sync_is_done_when_a_write_demands_it)
{
    const bool yes = true;
    const bool no = false;
    struct sc_bitcask_stats stats;
    put_uncommitted("a", NULL);
    ck_assert(!sc_bitcask_commit_needs_sync(f.store)); /* the fixture's store: never */
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.syncs, 0);
    put_uncommitted("b", &yes);
    ck_assert(sc_bitcask_commit_needs_sync(f.store));
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.syncs, 1);
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.syncs, 1); /* nothing was left to sync */

    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    fixture_reopen(&f);
    put_uncommitted("c", &no);
    ck_assert(!sc_bitcask_commit_needs_sync(f.store));
    put_uncommitted("d", NULL);
    ck_assert(sc_bitcask_commit_needs_sync(f.store));
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    put_uncommitted("e", &no);
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.syncs, 1);
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    sc_bitcask_stats(f.store, &stats);
    ck_assert_uint_eq(stats.syncs, 2);
}
END_TEST

START_TEST(commit_may_span_files)
{
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    char key[32];
    for (int i = 0; i < 500; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        put_uncommitted(key, NULL);
    }
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    ck_assert_uint_gt(data_files(f.dir), 4);
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    ck_assert_uint_eq(count_all(), 500);
}
END_TEST

/* ---- The directory ---- */

START_TEST(identity_and_slots_are_kept)
{
    const uint8_t cluster[16] = "0123456789abcde";
    const uint8_t other[16] = "another cluster";
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(f.store, &identity);
    ck_assert(!identity.adopted);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 9, f.why), SC_OK);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 9, f.why), SC_OK);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 8, f.why), SC_DENIED);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, other, 9, f.why), SC_DENIED);
    owned[100] = 0x81;
    ck_assert_int_eq(sc_bitcask_grant(f.store, 4, 17, owned, f.why), SC_OK);
    ck_assert_int_eq(sc_bitcask_grant(f.store, 3, 18, owned, f.why), SC_DENIED);
    put(&f, "a", "one");
    fixture_reopen(&f);
    sc_bitcask_identity(f.store, &identity);
    ck_assert(identity.adopted && identity.shard_id == 9);
    ck_assert_mem_eq(identity.cluster, cluster, 16);
    ck_assert_uint_eq(identity.term, 4);
    ck_assert_uint_eq(identity.epoch, 17);
    ck_assert(sc_bitcask_owns(f.store, 800) && sc_bitcask_owns(f.store, 807));
    ck_assert(!sc_bitcask_owns(f.store, 801) && !sc_bitcask_owns(f.store, 0));
    /* Data files carry the shard's id. */
    char path[512];
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    ck_assert_uint_eq(sc_le32_get(bytes.data + 12), 9);
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(directory_with_data_of_no_cluster_is_not_adopted)
{
    const uint8_t cluster[16] = "0123456789abcde";
    put(&f, "a", "one");
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 1, f.why), SC_DENIED);
}
END_TEST

START_TEST(read_only_store_changes_nothing)
{
    char path[512];
    put(&f, "a", "one");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf before = file_read(path);
    sc_buf_append(&before, "torn", 4);
    file_write(path, before.data, before.size);
    f.options.read_only = true;
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
    expect(&f, "a", "one");
    uint64_t version;
    bool existed;
    struct sc_slice k = sc_slice_str("a");
    const struct sc_bitcask_write options = {0};
    ck_assert_int_eq(
        sc_bitcask_put(f.store, k, sc_slot_hash(k), k, &options, &version, &f.position, f.why),
        SC_DENIED);
    ck_assert_int_eq(
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, &existed, &f.position, f.why),
        SC_DENIED);
    uint64_t removed;
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_DENIED);
    fixture_close(&f);
    struct sc_buf after = file_read(path);
    ck_assert(sc_slice_equal(sc_buf_slice(&before), sc_buf_slice(&after)));
    sc_buf_fini(&before);
    sc_buf_fini(&after);
}
END_TEST

START_TEST(data_without_a_manifest_is_refused)
{
    char path[512];
    put(&f, "a", "one");
    fixture_close(&f);
    (void)snprintf(path, sizeof path, "%s/MANIFEST", f.dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(fixture_try_open(&f), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.why, "no MANIFEST"));
}
END_TEST

START_TEST(missing_data_file_is_refused_by_name)
{
    char path[512];
    put(&f, "a", "one");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(fixture_try_open(&f), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.why, "0000000001.data is missing"));
}
END_TEST

static bool is_there(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", f.dir, name);
    return access(path, F_OK) == 0;
}

START_TEST(files_that_are_not_listed_are_never_read_as_data)
{
    char path[512];
    char other[600];
    put(&f, "a", "one");
    fixture_close(&f);
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    (void)snprintf(other, sizeof other, "%s/0000000007.data", f.dir);
    file_write(other, bytes.data, bytes.size);
    (void)snprintf(other, sizeof other, "%s/0000000008.data", f.dir);
    file_write(other, bytes.data, 64);
    (void)snprintf(other, sizeof other, "%s/0000000009.hint", f.dir);
    file_write(other, bytes.data, 64);
    (void)snprintf(other, sizeof other, "%s/0000000001.hint.tmp", f.dir);
    file_write(other, bytes.data, 64);
    (void)snprintf(other, sizeof other, "%s/1.data", f.dir);
    file_write(other, bytes.data, 64);
    sc_buf_fini(&bytes);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 1);
    ck_assert_int_eq(f.events[0].kind, SC_EVENT_OTHER);
    ck_assert(is_there("0000000007.data.orphan") && !is_there("0000000007.data"));
    ck_assert(!is_there("0000000008.data") && !is_there("0000000009.hint"));
    ck_assert(!is_there("0000000001.hint.tmp"));
    ck_assert(is_there("1.data")); /* not a name of ours */
    expect(&f, "a", "one");
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
}
END_TEST

START_TEST(hint_of_the_newest_file_serves_after_a_clean_close_and_a_kill)
{
    char value[2000];
    char key[32];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key-%d", i);
        put(&f, key, value);
    }
    fixture_reopen(&f);
    ck_assert(is_there("0000000001.hint"));
    put(&f, "key-0", "newer");
    ck_assert(del(&f, "key-1"));
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "key-0", "newer");
    expect(&f, "key-1", NULL);
    expect(&f, "key-2", value);
    ck_assert_uint_eq(count_all(), 99);
}
END_TEST

/* ---- Sizes and figures ---- */

START_TEST(largest_keys_and_values_are_stored)
{
    struct sc_buf key = {0};
    struct sc_buf value = {0};
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    memset(sc_buf_reserve(&key, SC_KEY_MAX), 'k', SC_KEY_MAX);
    key.size = SC_KEY_MAX;
    memset(sc_buf_reserve(&value, SC_VALUE_MAX_DEFAULT + 1), 'v', SC_VALUE_MAX_DEFAULT + 1);
    value.size = SC_VALUE_MAX_DEFAULT;
    uint64_t hash = sc_slot_hash(sc_buf_slice(&key));
    ck_assert_int_eq(sc_bitcask_put(f.store, sc_buf_slice(&key), hash, sc_buf_slice(&value),
                                    &options, &version, &f.position, f.why),
                     SC_OK);
    for (int round = 0; round < 3; round++) {
        struct sc_buf got = {0};
        sc_buf_append(&got, "kept", 4);
        ck_assert_int_eq(
            sc_bitcask_get(f.store, sc_buf_slice(&key), hash, &got, &f.position, f.why), SC_OK);
        ck_assert_uint_eq(got.size, value.size + 4);
        ck_assert_mem_eq(got.data, "kept", 4);
        ck_assert_mem_eq(got.data + 4, value.data, value.size);
        sc_buf_fini(&got);
        if (round == 0) {
            commit(&f);
        } else {
            fixture_reopen(&f);
        }
    }
    value.size++;
    ck_assert_int_eq(sc_bitcask_put(f.store, sc_buf_slice(&key), hash, sc_buf_slice(&value),
                                    &options, &version, &f.position, f.why),
                     SC_TOOLARGE);
    sc_buf_fini(&key);
    sc_buf_fini(&value);
}
END_TEST

START_TEST(figures_add_up)
{
    struct sc_bitcask_stats stats;
    put(&f, "a", "12345678"); /* 32 + 1 + 8, padded: 48 */
    put(&f, "a", "12345678");
    put(&f, "b", "1234567"); /* 40 */
    ck_assert(del(&f, "b")); /* 40 */
    expect(&f, "a", "12345678");
    expect(&f, "b", NULL);
    for (int round = 0; round < 2; round++) {
        sc_bitcask_stats(f.store, &stats);
        ck_assert_uint_eq(stats.keys, 1);
        ck_assert_uint_eq(stats.files, 1);
        ck_assert_uint_eq(stats.file_bytes, 64 + 48 + 48 + 40 + 40);
        ck_assert_uint_eq(stats.live_bytes, 48);
        ck_assert_uint_eq(stats.dead_bytes, 48 + 40 + 40);
        ck_assert_uint_eq(stats.tombstones, 1);
        if (round == 0) {
            ck_assert_uint_eq(stats.puts, 3);
            ck_assert_uint_eq(stats.dels, 1);
            ck_assert_uint_eq(stats.gets, 2);
            ck_assert_uint_eq(stats.hits, 1);
            ck_assert_uint_eq(stats.misses, 1);
            ck_assert_uint_eq(stats.bytes_written, 48 + 48 + 40 + 40);
            ck_assert_uint_eq(stats.commits, 4);
        }
        fixture_reopen(&f);
    }
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        what_was_put_is_got,
        what_was_put_is_there_after_reopening,
        what_was_committed_survives_a_kill,
        files_are_rotated_and_all_are_read_again,
        second_opener_is_told_that_it_is_busy,
        torn_tail_is_cut_before_anything_is_appended,
        if_version_holds_or_nothing_changes,
        expired_key_is_absent_for_every_operation,
        sweep_removes_what_has_expired,
        put_clears_an_expiry_and_touch_and_incr_mind_it,
        incr_adds_int64_and_refuses_what_is_none,
        clear_removes_the_slots_asked_for_and_stays_done,
        clear_costs_one_record_a_run_of_slots,
        scan_with_a_prefix_finds_each_key_once,
        scan_keeps_to_its_slots,
        cursor_at_a_slot_starts_with_its_first_key,
        cursor_that_is_none_of_ours_is_refused,
        answers_wait_for_the_writes_that_they_tell_of,
        sync_is_done_when_a_write_demands_it,
        commit_may_span_files,
        identity_and_slots_are_kept,
        directory_with_data_of_no_cluster_is_not_adopted,
        read_only_store_changes_nothing,
        data_without_a_manifest_is_refused,
        missing_data_file_is_refused_by_name,
        files_that_are_not_listed_are_never_read_as_data,
        hint_of_the_newest_file_serves_after_a_clean_close_and_a_kill,
        largest_keys_and_values_are_stored,
        figures_add_up,
    };
    Suite *s = suite_create("bitcask");
    TCase *tcase = tcase_create("bitcask");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(s, tcase);
    return s;
}

int main(void)
{
    return sc_check_main(suite());
}
