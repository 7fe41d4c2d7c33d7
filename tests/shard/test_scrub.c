/* What a scrub tells of damage: all of it, in the right place, and nothing else. */
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/merging.h"
#include "tests/shard/scrubbing.h"

#include <errno.h>
#include <sys/stat.h>

#define RECORD_SIZE 48u /* header 32, key 8, value 8 */
#define RECORDS 40u

static struct fixture f;
static struct scrubbing s;

static void setup(void)
{
    quiet();
    memset(&s, 0, sizeof s);
    fixture_init(&f);
    fixture_open(&f);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    fixture_fini(&f);
}

static void key_of(unsigned i, char key[16])
{
    (void)snprintf(key, 16, "key-%04u", i);
}

/* Records of equal size, one key each; the record of key i is at record_at(i). */
static void fill(void)
{
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[16];
        key_of(i, key);
        put(&f, key, "a value.");
    }
}

static uint64_t record_at(unsigned i)
{
    return 64 + (uint64_t)i * RECORD_SIZE;
}

static void flip(size_t file, uint64_t offset)
{
    char path[512];
    data_path(f.dir, file, path);
    file_flip(path, offset, 0x11);
}

static void scrub(void)
{
    enum sc_status status = scrub_once(&s, &f);
    ck_assert_msg(status == SC_OK, "%d %s", status, s.why);
}

/* Seals the active file and gives it its hint. */
static void seal(void)
{
    char big[4096];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    fixture_close(&f);
    uint64_t before = f.options.file_size_max;
    f.options.file_size_max = 4096;
    fixture_open(&f);
    put(&f, "first of the next file", big);
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
    f.options.file_size_max = before;
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
}

static void expect_one(enum sc_damage_kind kind, uint64_t offset, uint64_t size, const char *key)
{
    const struct found *found = found_first(&s, kind);
    ck_assert_ptr_nonnull(found);
    ck_assert_uint_eq(found->damage.file, 1);
    ck_assert_uint_eq(found->damage.offset, offset);
    ck_assert_uint_eq(found->damage.size, size);
    ck_assert_str_eq(found->key, key);
}

START_TEST(clean_store_has_no_damage)
{
    scrub();
    ck_assert_uint_eq(s.count, 0); /* empty */
    fill();
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    ck_assert_uint_eq(s.bytes, record_at(RECORDS));
    seal();
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    ck_assert_uint_ge(s.files_passed, 2);
    ck_assert_uint_ge(found_count(&s, SC_DAMAGE_UNHINTED), 1); /* the active one */
}
END_TEST

START_TEST(each_flipped_byte_is_told_with_its_record)
{
    fill();
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    for (uint64_t offset = 0; offset < record_at(RECORDS); offset += STRIDE) {
        flip(0, offset);
        scrub();
        flip(0, offset);
        if (offset < 64) {
            ck_assert_uint_eq(s.count, 2);
            expect_one(SC_DAMAGE_HEAD, 0, 64, "");
            continue;
        }
        unsigned record = (unsigned)(offset - 64) / RECORD_SIZE;
        bool in_value = (offset - 64) % RECORD_SIZE >= 40;
        char key[16] = "";
        if (in_value) {
            key_of(record, key);
        }
        ck_assert_uint_eq(found_damages(&s), 1);
        expect_one(in_value ? SC_DAMAGE_VALUE : SC_DAMAGE_STRETCH, record_at(record), RECORD_SIZE,
                   key);
        ck_assert_uint_eq(found_first(&s, SC_DAMAGE_UNHINTED) != NULL, 1);
        ck_assert_uint_eq(s.found[0].damage.live, in_value);
    }
}
END_TEST

START_TEST(hint_tells_what_stood_in_a_stretch)
{
    fill();
    del(&f, "key-0007");
    put(&f, "key-0006", "new");
    seal();
    /* Two records side by side, one that was overwritten, a tombstone. */
    flip(0, record_at(3) + 2);
    flip(0, record_at(4) + 33);
    flip(0, record_at(6) + 26);
    flip(0, record_at(RECORDS) + 30);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_STRETCH), 3);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_RECORD), 3);
    ck_assert_uint_eq(found_damages(&s), 6);
    expect_one(SC_DAMAGE_STRETCH, record_at(3), (uint64_t)2 * RECORD_SIZE, "");
    expect_one(SC_DAMAGE_RECORD, record_at(3), RECORD_SIZE, "key-0003");
    for (size_t i = 0; i < s.count; i++) {
        const struct found *found = &s.found[i];
        if (found->damage.kind == SC_DAMAGE_STRETCH) {
            ck_assert(found->damage.known);
        } else if (found->damage.kind == SC_DAMAGE_RECORD) {
            ck_assert_uint_eq(found->damage.live, strcmp(found->key, "key-0006") != 0);
        }
    }
}
END_TEST

START_TEST(damaged_hint_is_told_and_believed_no_more)
{
    char path[512];
    fill();
    seal();
    (void)snprintf(path, sizeof path, "%s/0000000001.hint", f.dir);
    file_flip(path, 200, 1);
    flip(0, record_at(9));
    scrub();
    ck_assert_uint_eq(found_damages(&s), 2);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_HINT), 1);
    expect_one(SC_DAMAGE_STRETCH, record_at(9), RECORD_SIZE, "");
    ck_assert(!found_first(&s, SC_DAMAGE_STRETCH)->damage.known);
}
END_TEST

START_TEST(page_of_zeros_is_one_stretch)
{
    char path[512];
    static const uint8_t zeros[1000];
    fill();
    seal();
    data_path(f.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    memcpy(bytes.data + record_at(5) + 20, zeros, sizeof zeros);
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_STRETCH), 1);
    expect_one(SC_DAMAGE_STRETCH, record_at(5), (uint64_t)22 * RECORD_SIZE, "");
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_RECORD), 22);
}
END_TEST

START_TEST(missing_end_is_told_with_what_the_hint_knows)
{
    char path[512];
    fill();
    seal();
    data_path(f.dir, 0, path);
    ck_assert_int_eq(truncate(path, (off_t)record_at(30)), 0);
    for (int open = 0; open < 3; open++) { /* running, and after a restart, more than once */
        scrub();
        ck_assert_uint_eq(found_count(&s, SC_DAMAGE_END), 1);
        expect_one(SC_DAMAGE_END, record_at(30), (uint64_t)10 * RECORD_SIZE, "");
        ck_assert(found_first(&s, SC_DAMAGE_END)->damage.known);
        ck_assert_uint_eq(found_count(&s, SC_DAMAGE_RECORD), 10);
        ck_assert_uint_eq(found_damages(&s), 11);
        expect(&f, "key-0029", "a value.");
        const char *value;
        ck_assert_int_eq(get(&f, "key-0030", &value), SC_CORRUPT);
        fixture_reopen(&f);
    }
}
END_TEST

START_TEST(missing_file_is_told)
{
    char path[512];
    fill();
    seal();
    data_path(f.dir, 0, path);
    ck_assert_int_eq(unlink(path), 0);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_FILE), 1);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_RECORD), RECORDS);
    fixture_close(&f);
    ck_assert_int_eq(fixture_try_open(&f), SC_CORRUPT); /* to serve it would lose things silently */
    f.options.read_only = true;
    f.options.salvage = true;
    fixture_open(&f);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_FILE), 1);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_RECORD), RECORDS);
    const char *value;
    ck_assert_int_eq(get(&f, "key-0000", &value), SC_CORRUPT);
}
END_TEST

START_TEST(file_that_was_replaced_by_another_is_told)
{
    char one[512];
    char two[512];
    fill();
    seal();
    data_path(f.dir, 0, one);
    data_path(f.dir, 1, two);
    struct sc_buf bytes = file_read(two);
    ck_assert_int_eq(unlink(one), 0);
    file_write(one, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_FILE), 1);
    expect(&f, "key-0000", "a value."); /* of the one that is open */
    fixture_reopen(&f);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_HEAD), 1);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_STRETCH), 1);
    const char *value;
    ck_assert_int_eq(get(&f, "key-0000", &value), SC_CORRUPT);
}
END_TEST

START_TEST(damaged_copy_of_the_manifest_is_told)
{
    char path[512];
    fill();
    (void)snprintf(path, sizeof path, "%s/MANIFEST", f.dir);
    file_flip(path, 30, 1);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 1);
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_MANIFEST), 1);
}
END_TEST

START_TEST(traces_of_a_crash_are_notes)
{
    char path[512];
    fill();
    fixture_close(&f);
    data_path(f.dir, 0, path);
    ck_assert_int_eq(truncate(path, (off_t)record_at(RECORDS) + 100), 0);
    f.options.read_only = true;
    fixture_open(&f);
    scrub();
    ck_assert_uint_eq(found_count(&s, SC_DAMAGE_TORN), 0); /* zeros are space written ahead */
    fixture_close(&f);
    flip(0, record_at(RECORDS) + 50);
    fixture_open(&f);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    expect_one(SC_DAMAGE_TORN, record_at(RECORDS), 100, "");
    fixture_close(&f);
    /* Behind the mark, with a record behind it. */
    ck_assert_int_eq(truncate(path, (off_t)record_at(RECORDS)), 0);
    forget_boot(f.dir, (uint64_t)3 * RECORD_SIZE);
    flip(0, record_at(RECORDS - 2) + 40);
    fixture_open(&f);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    expect_one(SC_DAMAGE_VOID, record_at(RECORDS - 2), RECORD_SIZE, "");
}
END_TEST

START_TEST(what_is_not_committed_is_not_read)
{
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    fill();
    struct sc_slice key = sc_slice_str("late");
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str("value"),
                                    &options, &version, &f.position, f.why),
                     SC_OK);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    ck_assert_uint_eq(s.bytes, record_at(RECORDS));
}
END_TEST

START_TEST(blocks_that_cannot_be_read_are_damage_and_the_rest_is_read)
{
    char value[3000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%04d", i);
        put(&f, key, value);
    }
    /* The read of the window fails, and that of its blocks 3 and 4, also when they are read again.
     */
    (void)sc_io_fault(SC_IO_READ, UINT64_MAX, EIO, false);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0);
    (void)sc_io_fault(SC_IO_READ, 1, EIO, true);
    scrub();
    ck_assert_uint_eq(found_damages(&s), 0); /* it was but a moment */
    (void)sc_io_fault(SC_IO_READ, 1, EIO, false);
    ck_assert_int_eq(scrub_once(&s, &f), SC_IO); /* MANIFEST cannot be read either */
    ck_assert_uint_ge(found_count(&s, SC_DAMAGE_STRETCH), 1);
    ck_assert(found_first(&s, SC_DAMAGE_STRETCH)->damage.unreadable);
}
END_TEST

START_TEST(scrub_stops_when_told)
{
    fill();
    s.stop_after = 1;
    ck_assert_int_eq(scrub_once(&s, &f), SC_UNAVAILABLE);
    ck_assert_uint_eq(s.files_passed, 0);
}
END_TEST

/* ---- Beside a merge ---- */

static struct merging m;

static void merge_now(void *arg)
{
    bool *done = arg;
    if (!*done) {
        *done = true;
        compact(&m);
    }
}

START_TEST(files_that_a_merge_takes_away_are_no_damage)
{
    fill();
    seal();
    fixture_close(&f);
    merging_init(&m, &f);
    merging_open(&m);
    for (unsigned i = 0; i < RECORDS; i += 2) {
        char key[16];
        key_of(i, key);
        put(&f, key, "newer");
    }
    flip(0, record_at(1) + 41);
    flip(0, record_at(1) + 41); /* whole again, but it was written to */
    bool done = false;
    s.beside = merge_now;
    s.arg = &done;
    scrub();
    ck_assert(done);
    ck_assert_uint_eq(found_damages(&s), 0);
    merging_close(&m);
    fixture_open(&f);
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        clean_store_has_no_damage,
        each_flipped_byte_is_told_with_its_record,
        hint_tells_what_stood_in_a_stretch,
        damaged_hint_is_told_and_believed_no_more,
        page_of_zeros_is_one_stretch,
        missing_end_is_told_with_what_the_hint_knows,
        missing_file_is_told,
        file_that_was_replaced_by_another_is_told,
        damaged_copy_of_the_manifest_is_told,
        traces_of_a_crash_are_notes,
        what_is_not_committed_is_not_read,
        blocks_that_cannot_be_read_are_damage_and_the_rest_is_read,
        scrub_stops_when_told,
        files_that_a_merge_takes_away_are_no_damage,
    };
    Suite *suite = suite_create("scrub");
    TCase *tcase = tcase_create("scrub");
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return sc_check_main(suite());
}
