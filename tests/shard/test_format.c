/*
 * The format on disk: an independent reader, written from docs/FORMAT.md, reads the same as the
 * engine; and stores of format version 1 that were written once and for all still open.
 *
 * GOLDEN=DIR in the environment makes the first test leave its store there as well, with what is in
 * it in DIR.txt: that is how tests/shard/golden was made. It is never made anew for a version.
 */
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <inttypes.h>

static struct fixture f;

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.file_size_max = 8192;
    fixture_open(&f);
}

static void teardown(void)
{
    fixture_fini(&f);
}

/* ---- What is in a store, a line for each key ---- */

static void put_hex(struct sc_buf *out, struct sc_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) {
        char pair[2] = {digits[at[i] >> 4], digits[at[i] & 15]};
        sc_buf_append(out, pair, sizeof pair);
    }
}

static void put_line(void *arg, struct sc_slice key, struct sc_slice unused)
{
    struct sc_buf *out = arg;
    struct sc_buf value = {0};
    struct sc_bitcask_meta meta = {0};
    char why[SC_WHY_SIZE];
    sc_bitcask_position position;
    uint64_t hash = sc_slot_hash(key);
    (void)unused;
    enum sc_status status = sc_bitcask_get(f.store, key, hash, &value, &position, why);
    put_hex(out, key);
    sc_buf_append_slice(out, sc_slice_str(" "));
    if (status == SC_OK) {
        put_hex(out, sc_buf_slice(&value));
    } else {
        ck_assert_int_eq(status, SC_CORRUPT);
        sc_buf_append_slice(out, sc_slice_str("corrupt"));
    }
    (void)sc_bitcask_meta(f.store, key, hash, &meta, &position, why);
    char version[64];
    (void)snprintf(version, sizeof version, " %" PRIu64 " %s\n", meta.version,
                   meta.has_ttl ? "expires" : "stays");
    sc_buf_append_slice(out, sc_slice_str(version));
    sc_buf_fini(&value);
}

static void dump_engine(struct sc_buf *out)
{
    struct sc_buf cursor = {0};
    do {
        struct sc_bitcask_scan scan = {
            .cursor = sc_buf_slice(&cursor),
            .last_slot = SC_SLOT_COUNT - 1,
            .limit = 100,
            .bytes_max = SIZE_MAX,
            .visits_max = UINT64_MAX,
        };
        ck_assert_int_eq(
            sc_bitcask_scan(f.store, &scan, put_line, out, &cursor, &f.position, f.why), SC_OK);
    } while (cursor.size > 0);
    sc_buf_fini(&cursor);
    sc_buf_append(out, "", 1);
}

static void dump_reader(const char *dir, struct sc_buf *out)
{
    char command[1024];
    (void)snprintf(command, sizeof command, "/usr/bin/python3 -B '%s' --hints '%s'", READER, dir);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t got;
    while ((got = fread(sc_buf_reserve(out, 4096), 1, 4096, pipe)) > 0) {
        out->size += got;
    }
    ck_assert_int_eq(pclose(pipe), 0);
    sc_buf_append(out, "", 1);
}

/* Both must read the same from the directory as it is now; the store is open afterwards. */
static void compare(void)
{
    struct sc_buf by_reader = {0};
    struct sc_buf by_engine = {0};
    dump_reader(f.dir, &by_reader);
    fixture_open(&f);
    dump_engine(&by_engine);
    ck_assert_str_eq((char *)by_reader.data, (char *)by_engine.data);
    ck_assert_uint_gt(by_engine.size, 1);
    sc_buf_fini(&by_reader);
    sc_buf_fini(&by_engine);
}

/* ---- Stores ---- */

static void put_bytes(const char *key, size_t size, const uint64_t *ttl_ms)
{
    static uint8_t value[4096];
    uint64_t version;
    const struct sc_bitcask_write options = {.ttl_ms = ttl_ms};
    struct sc_slice k = sc_slice_str(key);
    memset(value, (int)size, sizeof value);
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice(value, size), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    commit(&f);
}

/* Something of everything: several files, hints, a clear, tombstones, expiries. */
static void fill(void)
{
    const uint8_t cluster[16] = "a golden cluster";
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    const uint64_t century_ms = SC_TTL_MS_MAX;
    memset(owned, 0xff, sizeof owned / 2);
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 3, f.why), SC_OK);
    ck_assert_int_eq(sc_bitcask_grant(f.store, 5, 8, owned, f.why), SC_OK);
    char key[32];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "cleared-%d", i);
        put_bytes(key, 100, NULL);
    }
    uint64_t removed;
    ck_assert_int_eq(sc_bitcask_clear(f.store, owned, &removed, &f.position, f.why), SC_OK);
    commit(&f);
    for (int i = 0; i < 150; i++) {
        (void)snprintf(key, sizeof key, "%d-key", i * i % 100);
        put_bytes(key, (size_t)(i * 17 % 300 + 1), i % 5 == 0 ? &century_ms : NULL);
        if (i % 4 == 0) {
            (void)snprintf(key, sizeof key, "%d-key", i % 50);
            (void)del(&f, key);
        }
    }
    uint64_t number;
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
    put_bytes("behind the hints", 2000, NULL);
    put_bytes("behind the hints", 1, NULL);
}

START_TEST(independent_reader_agrees)
{
    fill();
    fixture_close(&f);
    const char *golden = getenv("GOLDEN");
    if (golden != NULL) {
        dir_copy(f.dir, golden);
    }
    compare();
    if (golden != NULL) {
        char path[512];
        struct sc_buf dump = {0};
        (void)snprintf(path, sizeof path, "%s.txt", golden);
        dump_engine(&dump);
        file_write(path, dump.data, dump.size - 1);
        sc_buf_fini(&dump);
    }
}
END_TEST

START_TEST(independent_reader_agrees_after_a_kill)
{
    fill();
    fixture_kill(&f);
    compare();
}
END_TEST

START_TEST(independent_reader_agrees_on_damage)
{
    char path[512];
    fill();
    fixture_close(&f);
    for (size_t i = 0; i < data_files(f.dir); i++) {
        data_path(f.dir, i, path);
        struct sc_buf bytes = file_read(path);
        for (size_t offset = 300 + 70 * i; offset < bytes.size; offset += 611) {
            bytes.data[offset] ^= 0x20;
        }
        bytes.size -= i % 2 == 1 && bytes.size > 200 ? 21 : 0;
        file_write(path, bytes.data, bytes.size);
        sc_buf_fini(&bytes);
    }
    /* With hints a key whose header was hit is still known; the reader does not use them. */
    for (int number = 1; number < 100; number++) {
        (void)snprintf(path, sizeof path, "%s/%010d.hint", f.dir, number);
        (void)unlink(path);
    }
    compare();
    ck_assert_uint_gt(fixture_events(&f, SC_EVENT_DAMAGE), 5);
}
END_TEST

START_TEST(independent_reader_agrees_on_the_traces_of_a_crash)
{
    char path[512];
    fill();
    put_bytes("first", 64, NULL);
    put_bytes("second", 64, NULL);
    put_bytes("third", 64, NULL);
    fixture_close(&f);
    forget_boot(f.dir, 312);
    data_path(f.dir, data_files(f.dir) - 1, path);
    struct sc_buf bytes = file_read(path);
    bytes.data[bytes.size - 150] ^= 1; /* in the value of the second */
    file_write(path, bytes.data, bytes.size - 9);
    sc_buf_fini(&bytes);
    compare();
    fixture_close(&f);
    compare();
    ck_assert_uint_eq(f.event_count, 0);
}
END_TEST

START_TEST(golden_store_opens_and_is_what_it_was)
{
    struct sc_buf golden = file_read(GOLDEN_DIR "/v1.txt");
    sc_buf_append(&golden, "", 1);
    fixture_close(&f);
    dir_remove(f.dir);
    dir_copy(GOLDEN_DIR "/v1", f.dir);
    for (int i = 0; i < 2; i++) {
        struct sc_buf dump = {0};
        compare();
        ck_assert_uint_eq(f.event_count, 0);
        dump_engine(&dump);
        ck_assert_str_eq((char *)dump.data, (char *)golden.data);
        struct sc_bitcask_identity identity;
        sc_bitcask_identity(f.store, &identity);
        ck_assert(identity.adopted && identity.shard_id == 3 && identity.term == 5 &&
                  identity.epoch == 8);
        ck_assert_mem_eq(identity.cluster, "a golden cluster", 16);
        ck_assert(sc_bitcask_owns(f.store, 0) && !sc_bitcask_owns(f.store, SC_SLOT_COUNT - 1));
        sc_buf_fini(&dump);
        fixture_close(&f);
    }
    sc_buf_fini(&golden);
}
END_TEST

START_TEST(newer_format_is_refused_with_a_sentence)
{
    char path[512];
    put(&f, "a", "one");
    fixture_close(&f);
    (void)snprintf(path, sizeof path, "%s/MANIFEST", f.dir);
    struct sc_buf bytes = file_read(path);
    bytes.data[8] = 3;
    bytes.data[bytes.size / 2 + 8] = 3;
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    ck_assert_int_eq(fixture_try_open(&f), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.why, "newer"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("format");
    TCase *tcase = tcase_create("format");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, independent_reader_agrees);
    tcase_add_test(tcase, independent_reader_agrees_after_a_kill);
    tcase_add_test(tcase, independent_reader_agrees_on_damage);
    tcase_add_test(tcase, independent_reader_agrees_on_the_traces_of_a_crash);
    tcase_add_test(tcase, golden_store_opens_and_is_what_it_was);
    tcase_add_test(tcase, newer_format_is_refused_with_a_sentence);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
