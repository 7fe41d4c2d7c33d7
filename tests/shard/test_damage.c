/* A small store, damaged at every place: never a wrong value, never an older one or none in
 * silence, and everything around the damage is still there. */
#include "shard/bitcask_impl.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS 12
#define HISTORY 4

/* What each key should have, newest first; NULL: absent. */
struct expected {
    char key[16];
    const char *values[HISTORY];
    int count;
};

static struct fixture f;
static struct expected model[KEYS];
static char pristine[300];

static void note(int key, const char *value)
{
    struct expected *e = &model[key];
    memmove(e->values + 1, e->values, sizeof e->values - sizeof *e->values);
    e->values[0] = value;
    e->count = e->count < HISTORY ? e->count + 1 : HISTORY;
}

static void put_noted(int key, const char *value)
{
    put(&f, model[key].key, value);
    note(key, value);
}

static void del_noted(int key)
{
    del(&f, model[key].key);
    note(key, NULL);
}

static void fill(void)
{
    for (int i = 0; i < KEYS; i++) {
        model[i] = (struct expected){.count = 1};
        (void)snprintf(model[i].key, sizeof model[i].key, "k%0*d", 1 + i % 5, i);
    }
    put_noted(0, "zero");
    put_noted(1, "one");
    put_noted(2, "two");
    put_noted(1, "one again, and longer than before");
    del_noted(2);
    put_noted(3, "three");
    put_noted(3, "three again");
    put_noted(4, "four");
    put_noted(5, "five");
    del_noted(5);
    put_noted(5, "five is back");
    for (int i = 6; i < KEYS - 1; i++) {
        put_noted(i, "a value of some more bytes, so that a record is not all header");
    }
    put_noted(0, "the last one");
}

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    fixture_open(&f);
}

static void teardown(void)
{
    fixture_fini(&f);
    if (pristine[0] != '\0') {
        dir_remove(pristine);
        pristine[0] = '\0';
    }
}

/* Closes the store and keeps its files, to damage copies of them. */
static void keep_pristine(void)
{
    fixture_close(&f);
    (void)snprintf(pristine, sizeof pristine, "%s.pristine", f.dir);
    dir_copy(f.dir, pristine);
}

static void restore(void)
{
    dir_remove(f.dir);
    dir_copy(pristine, f.dir);
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* How many keys do not have what they should; none may have what it never had, and none what it had
 * before unless damage was told. */
static int count_deviations(const char *what, uint64_t offset)
{
    int deviations = 0;
    bool told = fixture_events(&f, SC_EVENT_DAMAGE) + fixture_events(&f, SC_EVENT_TORN_TAIL) > 0;
    for (int i = 0; i < KEYS; i++) {
        const char *value;
        enum sc_status status = get(&f, model[i].key, &value);
        if (status == SC_CORRUPT) {
            deviations++;
            continue;
        }
        ck_assert_msg(status == SC_OK || status == SC_NOTFOUND, "%s at %d, %s: %d %s", what,
                      (int)offset, model[i].key, status, f.why);
        if (same(value, model[i].values[0])) {
            continue;
        }
        deviations++;
        bool older = false;
        for (int h = 1; h < HISTORY; h++) {
            older = older || same(value, model[i].values[h]);
        }
        ck_assert_msg(older, "%s at %d, %s has a value it never had: %s", what, (int)offset,
                      model[i].key, value);
        ck_assert_msg(told, "%s at %d, %s has an older value in silence: %s", what, (int)offset,
                      model[i].key, value != NULL ? value : "none");
    }
    return deviations;
}

/* What was put after the damage is there at the next opening, and nothing else has changed. */
static void write_and_reopen(const char *what, uint64_t offset, int deviations)
{
    put(&f, "new", "after the damage");
    fixture_reopen(&f);
    expect(&f, "new", "after the damage");
    f.event_count = 1;
    f.events[0].kind = SC_EVENT_DAMAGE; /* told at the first opening */
    ck_assert_msg(count_deviations(what, offset) == deviations, "%s at %d: more was lost later",
                  what, (int)offset);
}

static uint64_t size_of(const char *path)
{
    struct stat stat_;
    ck_assert_int_eq(stat(path, &stat_), 0);
    return (uint64_t)stat_.st_size;
}

/* Opens, judges, now and then writes and opens again, and closes. */
static void judge(const char *what, uint64_t offset, int most)
{
    fixture_open(&f);
    int deviations = count_deviations(what, offset);
    ck_assert_msg(deviations <= most, "%s at %d: %d keys are affected", what, (int)offset,
                  deviations);
    if (offset % 11 == 0) {
        write_and_reopen(what, offset, deviations);
    }
    fixture_close(&f);
}

static void flip_each_byte(const char *path, int most)
{
    static const uint8_t patterns[] = {0x01, 0x80, 0xff, 0x10};
    uint64_t size = size_of(path);
    /* Every byte of the small records at the beginning, some of what fills up the rest. */
    for (uint64_t offset = 0; offset < size; offset += offset < 1500 ? STRIDE : 7) {
        restore();
        file_flip(path, offset, patterns[offset % 4]);
        judge("flip", offset, most);
    }
}

static void cut_at_each_byte(const char *path)
{
    uint64_t size = size_of(path);
    for (uint64_t offset = 0; offset < size; offset += STRIDE) {
        restore();
        ck_assert_int_eq(truncate(path, (off_t)offset), 0);
        judge("cut", offset, KEYS);
    }
}

static void path_of(const char *name, char path[512])
{
    (void)snprintf(path, 512, "%s/%s", f.dir, name);
}

START_TEST(flip_in_the_newest_file_harms_one_record)
{
    char path[512];
    fill();
    keep_pristine();
    data_path(f.dir, 0, path);
    flip_each_byte(path, 1);
}
END_TEST

START_TEST(flip_after_a_kill_harms_one_record)
{
    char path[512];
    f.options.sync_ms = SC_BITCASK_SYNC_NEVER; /* acknowledged is what was written */
    fixture_reopen(&f);
    fill();
    fixture_kill(&f);
    fixture_open(&f);
    fixture_kill(&f);
    fixture_open(&f);
    keep_pristine();
    data_path(f.dir, 0, path);
    flip_each_byte(path, 1);
}
END_TEST

START_TEST(cut_anywhere_leaves_what_is_before_it)
{
    char path[512];
    fill();
    keep_pristine();
    data_path(f.dir, 0, path);
    cut_at_each_byte(path);
}
END_TEST

/* Two files, the first one sealed and with a hint. */
static void fill_two_files(void)
{
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    fill();
    char filler[3500];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    put(&f, "filler", filler);
    put(&f, "filler", "short");
    put_noted(6, "in the second file");
    del_noted(7);
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
    keep_pristine();
    ck_assert_uint_ge(data_files(f.dir), 2);
}

START_TEST(flip_in_a_sealed_file_with_a_hint_harms_one_record)
{
    char path[512];
    fill_two_files();
    data_path(f.dir, 0, path);
    flip_each_byte(path, 1);
}
END_TEST

START_TEST(sealed_file_that_became_shorter_is_told)
{
    char path[512];
    fill_two_files();
    data_path(f.dir, 0, path);
    const off_t records_end = 64 + 40 + 40; /* behind the first two records */
    restore();
    path_of("0000000001.hint", path);
    ck_assert_int_eq(unlink(path), 0);
    data_path(f.dir, 0, path);
    ck_assert_int_eq(truncate(path, records_end), 0);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
    ck_assert_ptr_nonnull(strstr(f.events[0].text, "missing"));
}
END_TEST

START_TEST(flip_in_a_hint_harms_nothing)
{
    char path[512];
    fill_two_files();
    path_of("0000000001.hint", path);
    flip_each_byte(path, 0);
}
END_TEST

static void put_numbered(const char *format, int count)
{
    static char value[1000];
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, format, i);
        put(&f, key, value);
    }
}

/* A hint that tells of more than the data file has must not be believed when that has grown. */
static void refuse_hint(off_t size)
{
    char path[512];
    fixture_fini(&f);
    fixture_init(&f);
    fixture_open(&f);
    put_numbered("old-%d", 100);
    fixture_close(&f);
    path_of("0000000001.hint", path);
    ck_assert_int_eq(access(path, F_OK), 0);
    path_of("DURABLE", path);
    ck_assert_int_eq(unlink(path), 0);
    data_path(f.dir, 0, path);
    ck_assert_int_eq(truncate(path, size), 0);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_HINT), 1);
    put_numbered("new-%d", 150);
    fixture_kill(&f);
    fixture_open(&f);
    expect(&f, "old-99", NULL);
    for (int i = 0; i < 150; i++) {
        const char *value;
        char key[16];
        (void)snprintf(key, sizeof key, "new-%d", i);
        ck_assert_int_eq(get(&f, key, &value), SC_OK);
    }
}

START_TEST(refused_hint_is_not_believed_later)
{
    refuse_hint(64);
    refuse_hint(64 + 1040); /* with one record */
}
END_TEST

START_TEST(cut_hint_harms_nothing)
{
    char path[512];
    fill_two_files();
    path_of("0000000001.hint", path);
    uint64_t size = size_of(path);
    for (uint64_t offset = 0; offset < size; offset += STRIDE) {
        restore();
        ck_assert_int_eq(truncate(path, (off_t)offset), 0);
        judge("cut", offset, 0);
    }
}
END_TEST

START_TEST(flip_in_the_manifest_harms_nothing)
{
    char path[512];
    uint8_t owned[SC_SLOT_COUNT / 8] = {0x0f, 0, 0xff};
    uint8_t cluster[16] = "cluster";
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 7, f.why), SC_OK);
    ck_assert_int_eq(sc_bitcask_grant(f.store, 3, 4, owned, f.why), SC_OK);
    fill();
    keep_pristine();
    path_of("MANIFEST", path);
    uint64_t size = size_of(path);
    for (uint64_t offset = 0; offset < size; offset += STRIDE) {
        restore();
        file_flip(path, offset, (uint8_t)(1 << offset % 8));
        fixture_open(&f);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_OTHER), 1);
        struct sc_bitcask_identity identity;
        sc_bitcask_identity(f.store, &identity);
        ck_assert(identity.adopted && identity.shard_id == 7 && identity.term == 3 &&
                  identity.epoch == 4);
        ck_assert(sc_bitcask_owns(f.store, 16) && !sc_bitcask_owns(f.store, 4));
        ck_assert_int_eq(count_deviations("manifest", offset), 0);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(cut_manifest_is_read_or_refused)
{
    char path[512];
    fill();
    keep_pristine();
    path_of("MANIFEST", path);
    uint64_t size = size_of(path);
    for (uint64_t offset = 0; offset < size; offset += STRIDE) {
        restore();
        ck_assert_int_eq(truncate(path, (off_t)offset), 0);
        if (offset < size / 2) {
            ck_assert_int_eq(fixture_try_open(&f), SC_CORRUPT);
            ck_assert_ptr_nonnull(strstr(f.why, "MANIFEST"));
        } else {
            judge("cut manifest", offset, 0);
        }
    }
}
END_TEST

START_TEST(flip_in_the_durable_mark_harms_nothing)
{
    char path[512];
    fill();
    keep_pristine();
    path_of("DURABLE", path);
    flip_each_byte(path, 0);
}
END_TEST

START_TEST(flip_in_a_clear_is_told)
{
    char path[512];
    uint64_t removed;
    fill();
    ck_assert_int_eq(sc_bitcask_clear(f.store, NULL, &removed, &f.position, f.why), SC_OK);
    commit(&f);
    ck_assert_uint_eq(removed, KEYS - 2);
    for (int i = 0; i < KEYS; i++) {
        note(i, NULL);
    }
    put_noted(3, "after the clear");
    keep_pristine();
    data_path(f.dir, 0, path);
    flip_each_byte(path, KEYS);
}
END_TEST

/* ---- Behind the durable mark: the traces of a power failure ---- */

/* The last `records` records, of 40 to 120 bytes each, are not known to be synced. */
static void keep_unsynced(uint64_t bytes)
{
    keep_pristine();
    forget_boot(pristine, bytes);
}

START_TEST(unsynced_value_that_is_damaged_was_never_written)
{
    char path[512];
    fill();
    const uint64_t size = 32 + 2 + 8 /* "k0", "the last", padding */;
    put(&f, "x", "synced");
    put(&f, "x", "torn and lost");
    put_noted(0, "the last");
    data_path(f.dir, 0, path);
    uint64_t lag = 48 + (size + 7) / 8 * 8;
    keep_unsynced(lag);
    restore();
    file_flip(path, size_of(path) - lag + 32 + 1, 0xff);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
    expect(&f, "x", "synced");
    expect(&f, "k0", "the last");
    /* It stays so when the mark has moved on. */
    for (int i = 0; i < 3; i++) {
        put(&f, "y", "more");
        fixture_reopen(&f);
        ck_assert_uint_eq(f.event_count, 0);
        expect(&f, "x", "synced");
        expect(&f, "k0", "the last");
    }
}
END_TEST

START_TEST(unsynced_end_is_cut_at_the_last_whole_record)
{
    char path[512];
    fill();
    put(&f, "x", "synced");
    put(&f, "x", "torn and lost");
    data_path(f.dir, 0, path);
    keep_unsynced(48);
    for (uint64_t i = 0; i < 46; i++) { /* the last two bytes are padding */
        restore();
        file_flip(path, size_of(path) - 48 + i, 0x55);
        fixture_open(&f);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
        ck_assert_uint_eq(f.event_count, 1);
        expect(&f, "x", "synced");
        ck_assert_int_eq(count_deviations("torn", i), 0);
        put(&f, "x", "again");
        fixture_reopen(&f);
        ck_assert_uint_eq(f.event_count, 0);
        expect(&f, "x", "again");
        fixture_close(&f);
    }
}
END_TEST

START_TEST(damage_before_the_mark_is_never_cut)
{
    char path[512];
    fill();
    put(&f, "x", "acknowledged");
    data_path(f.dir, 0, path);
    uint64_t size = size_of(path);
    keep_pristine();
    restore();
    file_flip(path, size - 48 + 10, 0x55);
    for (int i = 0; i < 2; i++) {
        fixture_open(&f);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 0);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
        put(&f, "y", "more");
        fixture_close(&f);
        ck_assert_uint_eq(size_of(path), size);
    }
    fixture_open(&f);
    expect(&f, "y", "more");
}
END_TEST

START_TEST(zeros_at_the_end_are_cut)
{
    char path[512];
    fill();
    data_path(f.dir, 0, path);
    uint64_t size = size_of(path);
    keep_pristine();
    for (uint64_t more = 1; more < 200; more += 13) {
        restore();
        ck_assert_int_eq(truncate(path, (off_t)(size + more)), 0);
        fixture_open(&f);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 0);
        ck_assert_uint_eq(size_of(path), size);
        ck_assert_int_eq(count_deviations("zeros", more), 0);
        fixture_close(&f);
    }
}
END_TEST

/* What a process leaves that syncs each small commit, when it is killed. */
static uint64_t kill_with_zeros(char path[512])
{
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    f.options.zeros_ahead = 16 << 10;
    fixture_reopen(&f);
    put(&f, "a", "one");
    data_path(f.dir, 0, path);
    uint64_t size = size_of(path);
    put(&f, "b", "two");
    ck_assert_uint_eq(size_of(path), size); /* the next commits find the space written */
    uint64_t end = f.store->writer.active->size;
    ck_assert_uint_gt(size, end);
    fixture_kill(&f);
    ck_assert_uint_eq(size_of(path), size);
    return end;
}

START_TEST(space_written_ahead_is_no_damage_after_a_kill)
{
    char path[512];
    uint64_t end = kill_with_zeros(path);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    ck_assert_uint_eq(size_of(path), end);
    expect(&f, "a", "one");
    expect(&f, "b", "two");
    put(&f, "c", "three");
    fixture_reopen(&f);
    ck_assert_uint_eq(size_of(path), f.store->writer.active->size);
    expect(&f, "c", "three");
}
END_TEST

START_TEST(lost_record_in_front_of_space_written_ahead_is_told)
{
    char path[512];
    uint64_t end = kill_with_zeros(path);
    const uint8_t zeros[16] = {0};
    int fd = open(path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, zeros, sizeof zeros, (off_t)(end - sc_record_size(1, 3))), 16);
    (void)close(fd);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 0);
    expect(&f, "a", "one");
    put(&f, "c", "three");
    fixture_reopen(&f);
    expect(&f, "a", "one");
    expect(&f, "c", "three");
}
END_TEST

START_TEST(rest_of_a_record_in_space_written_ahead_is_cut)
{
    char path[512];
    uint64_t end = kill_with_zeros(path);
    forget_boot(f.dir, 0);
    file_flip(path, end + 100, 0x40);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 0);
    ck_assert_uint_eq(size_of(path), end);
    expect(&f, "b", "two");
}
END_TEST

START_TEST(sealed_files_have_no_space_written_ahead)
{
    char path[512];
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    f.options.zeros_ahead = 16 << 10;
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    f.store->writer.helped = true; /* which else leaves trimming to the help */
    while (data_files(f.dir) < 4) {
        put(&f, "a", "many");
    }
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    data_path(f.dir, 1, path);
    ck_assert_uint_le(size_of(path), 4096);
    expect(&f, "a", "many");
}
END_TEST

START_TEST(file_that_somebody_made_huge_is_read_to_its_records_end)
{
    char path[512];
    fill();
    data_path(f.dir, 0, path);
    keep_pristine();
    restore();
    ck_assert_int_eq(truncate(path, INT64_C(0x80000000) + 4096), 0);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_TORN_TAIL), 1);
    ck_assert_int_eq(count_deviations("huge", 0), 0);
    put(&f, "a", "one");
    fixture_reopen(&f);
    expect(&f, "a", "one");
}
END_TEST

START_TEST(copy_of_a_data_file_inside_a_value_is_not_read_as_records)
{
    char path[512];
    fill();
    data_path(f.dir, 0, path);
    struct sc_buf copy = file_read(path);
    struct sc_slice key = sc_slice_str("backup");
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    uint64_t offset = size_of(path);
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_buf_slice(&copy), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    commit(&f);
    put_noted(0, "newer than what is in the copy");
    keep_pristine();
    /* With its header damaged the value is searched for records. */
    restore();
    file_flip(path, offset + 5, 0xff);
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 1);
    ck_assert_uint_ge(f.events[0].size, copy.size);
    expect(&f, "backup", NULL);
    ck_assert_int_eq(count_deviations("copy", offset), 0);
    sc_buf_fini(&copy);
}
END_TEST

/* ---- Scans ---- */

struct seen {
    bool readable[KEYS];
    bool unreadable[KEYS];
    size_t readable_here, unreadable_here; /* in the page */
};

static void see_scanned(void *arg, struct sc_slice key, struct sc_slice value)
{
    struct seen *seen = arg;
    int i = 0;
    while (i < KEYS && !sc_slice_equal(key, sc_slice_str(model[i].key))) {
        i++;
    }
    ck_assert_int_lt(i, KEYS);
    ck_assert(!seen->readable[i] && !seen->unreadable[i]);
    if (value.data == NULL) {
        seen->unreadable[i] = true;
        seen->unreadable_here++;
    } else {
        ck_assert(sc_slice_equal(value, sc_slice_str(model[i].values[0])));
        seen->readable[i] = true;
        seen->readable_here++;
    }
}

/* Scans with values to the end: every key comes once, readable or not, and never both in a page. */
static void scan_damaged(uint32_t limit, struct seen *seen)
{
    struct sc_buf cursor = {0};
    *seen = (struct seen){0};
    do {
        const struct sc_bitcask_scan scan = {
            .cursor = sc_buf_slice(&cursor),
            .last_slot = SC_SLOT_COUNT - 1,
            .limit = limit,
            .values = true,
            .bytes_max = SIZE_MAX,
            .visits_max = UINT64_MAX,
        };
        seen->readable_here = 0;
        seen->unreadable_here = 0;
        enum sc_status status =
            sc_bitcask_scan(f.store, &scan, see_scanned, seen, &cursor, &f.position, f.why);
        ck_assert_int_eq(status, seen->unreadable_here > 0 ? SC_CORRUPT : SC_OK);
        ck_assert(seen->readable_here == 0 || seen->unreadable_here == 0);
        ck_assert_uint_le(seen->readable_here + seen->unreadable_here, limit);
        ck_assert(status == SC_OK || strstr(f.why, "damaged") != NULL);
    } while (cursor.size > 0);
    sc_buf_fini(&cursor);
}

START_TEST(scan_with_values_tells_of_every_value_it_cannot_read)
{
    char path[512];
    struct seen seen;
    for (int i = 0; i < KEYS; i++) {
        model[i] = (struct expected){.count = 1};
        (void)snprintf(model[i].key, sizeof model[i].key, "key-%02d", i);
        put_noted(i, "of eight");
    }
    data_path(f.dir, 0, path);
    for (unsigned damaged = 0; damaged < 1u << KEYS; damaged += 37) {
        for (int i = 0; i < KEYS; i++) {
            if ((damaged >> i & 1) != 0) {
                file_flip(path, 64 + 48 * (uint64_t)i + 40, 0x40);
            }
        }
        scan_damaged(1 + damaged % (KEYS + 2), &seen);
        for (int i = 0; i < KEYS; i++) {
            bool bad = (damaged >> i & 1) != 0;
            ck_assert(seen.readable[i] == !bad && seen.unreadable[i] == bad);
            if (bad) {
                file_flip(path, 64 + 48 * (uint64_t)i + 40, 0x40);
            }
        }
    }
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        flip_in_the_newest_file_harms_one_record,
        flip_after_a_kill_harms_one_record,
        cut_anywhere_leaves_what_is_before_it,
        flip_in_a_sealed_file_with_a_hint_harms_one_record,
        sealed_file_that_became_shorter_is_told,
        flip_in_a_hint_harms_nothing,
        cut_hint_harms_nothing,
        refused_hint_is_not_believed_later,
        flip_in_the_manifest_harms_nothing,
        cut_manifest_is_read_or_refused,
        flip_in_the_durable_mark_harms_nothing,
        flip_in_a_clear_is_told,
        unsynced_value_that_is_damaged_was_never_written,
        unsynced_end_is_cut_at_the_last_whole_record,
        damage_before_the_mark_is_never_cut,
        zeros_at_the_end_are_cut,
        space_written_ahead_is_no_damage_after_a_kill,
        lost_record_in_front_of_space_written_ahead_is_told,
        rest_of_a_record_in_space_written_ahead_is_cut,
        sealed_files_have_no_space_written_ahead,
        file_that_somebody_made_huge_is_read_to_its_records_end,
        copy_of_a_data_file_inside_a_value_is_not_read_as_records,
        scan_with_values_tells_of_every_value_it_cannot_read,
    };
    Suite *s = suite_create("damage");
    TCase *tcase = tcase_create("damage");
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
