/* System calls that fail, one after the other: what was acknowledged survives, what is refused has
 * changed nothing, and the store can be opened again. */
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#define KEYS 10
#define ROUNDS 60

static struct fixture f;

/* What a key may have: the value acknowledged last (-1: none) or one that was tried since. */
static int acknowledged[KEYS];
static int tried[KEYS]; /* the newest; -1: none */
static bool tried_removal[KEYS];

static void key_name(int key, char name[16])
{
    (void)snprintf(name, 16, "key-%d", key);
}

static void value_text(int number, char text[256])
{
    memset(text, 'v', 255);
    text[(number * 37) % 200 + 30] = '\0';
    char digits[16];
    int size = snprintf(digits, sizeof digits, "%d:", number);
    memcpy(text, digits, (size_t)size);
}

/* The number in front of a value; -1 when the key is absent. Fails when it is no value of ours. */
static int read_number(int key)
{
    char name[16];
    char expected[256];
    const char *value;
    key_name(key, name);
    enum sc_status status = get(&f, name, &value);
    if (status == SC_NOTFOUND) {
        return -1;
    }
    ck_assert_msg(status == SC_OK, "%s: %d %s", name, status, f.why);
    int number = atoi(value);
    value_text(number, expected);
    ck_assert_str_eq(value, expected);
    return number;
}

static void commit_and_note(int key, int number)
{
    sc_bitcask_position position = f.position;
    enum sc_status status = sc_bitcask_commit(f.store, number % 3 == 0);
    ck_assert(status == SC_OK || status == SC_IO);
    ck_assert(status == SC_OK || sc_bitcask_failed(f.store) != NULL);
    if (sc_bitcask_committed(f.store) >= position) {
        acknowledged[key] = tried[key];
        tried_removal[key] = false;
    } else {
        ck_assert(sc_bitcask_lost(f.store, position));
    }
}

static void put_number(int key, int number)
{
    char name[16];
    char text[256];
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    key_name(key, name);
    value_text(number, text);
    struct sc_slice k = sc_slice_str(name);
    enum sc_status status = sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(text),
                                           &options, &version, &f.position, f.why);
    if (status == SC_OK) {
        tried[key] = number;
        commit_and_note(key, number);
        return;
    }
    ck_assert_int_eq(status, SC_IO);
    ck_assert_str_ne(f.why, "");
}

static void del_number(int key, int number)
{
    char name[16];
    bool existed = false;
    const struct sc_bitcask_write options = {0};
    key_name(key, name);
    struct sc_slice k = sc_slice_str(name);
    enum sc_status status =
        sc_bitcask_del(f.store, k, sc_slot_hash(k), &options, &existed, &f.position, f.why);
    if (status == SC_OK && existed) {
        tried[key] = -1;
        tried_removal[key] = true;
        commit_and_note(key, number);
        return;
    }
    ck_assert(status == SC_IO || status == SC_OK);
}

/* Reads must not tell what was refused or lost. */
static void check_reads(void)
{
    for (int key = 0; key < KEYS; key++) {
        char name[16];
        const char *value;
        key_name(key, name);
        enum sc_status status = get(&f, name, &value);
        if (status == SC_IO || sc_bitcask_lost(f.store, f.position)) {
            continue;
        }
        ck_assert(status == SC_OK || status == SC_NOTFOUND);
        ck_assert_int_eq(status == SC_OK ? atoi(value) : -1, acknowledged[key]);
    }
}

static void work(void)
{
    if (fixture_try_open(&f) != SC_OK) {
        ck_assert_str_ne(f.why, "");
        return;
    }
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 7 == 6) {
            del_number(i % KEYS, i);
        } else {
            put_number(i % KEYS, i);
        }
        uint64_t number;
        if (i % 10 == 0 && sc_bitcask_hint_pending(f.store, &number)) {
            sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
        }
    }
    check_reads();
    enum sc_status status = sc_bitcask_close(f.store);
    ck_assert(status == SC_OK || status == SC_IO);
    f.store = NULL;
}

static void check_after(unsigned calls, uint64_t countdown)
{
    fixture_open(&f);
    ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 0);
    for (size_t i = 0; i < f.event_count; i++) {
        /* A mark that was half written is not believed; nothing else can have happened to it. */
        ck_assert(f.events[i].kind != SC_EVENT_OTHER || strcmp(f.events[i].file, "DURABLE") == 0);
    }
    for (int key = 0; key < KEYS; key++) {
        int number = read_number(key);
        bool right = number == acknowledged[key] || number == tried[key] ||
                     (number == -1 && tried_removal[key]);
        ck_assert_msg(right, "calls %u, call %d: key %d has %d, not %d or %d", calls,
                      (int)countdown, key, number, acknowledged[key], tried[key]);
    }
    put(&f, "after", "all is well");
    fixture_reopen(&f);
    expect(&f, "after", "all is well");
    fixture_close(&f);
}

/* One run of the work in which call `countdown` fails; false when there were not so many. */
static bool run(unsigned calls, uint64_t countdown, int error, bool once)
{
    fixture_init(&f);
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    f.options.file_size_max = 4096;
    for (int key = 0; key < KEYS; key++) {
        acknowledged[key] = -1;
        tried[key] = -1;
        tried_removal[key] = false;
    }
    (void)sc_io_fault(calls, countdown, error, once);
    work();
    uint64_t counted = sc_io_fault(0, 0, 0, false);
    check_after(calls, countdown);
    fixture_fini(&f);
    return counted >= countdown;
}

static const struct {
    unsigned calls;
    int error;
} faults[] = {
    {SC_IO_OPEN, EMFILE}, {SC_IO_READ, EIO},        {SC_IO_WRITE, EIO},      {SC_IO_WRITE, ENOSPC},
    {SC_IO_SYNC, EIO},    {SC_IO_ALLOCATE, ENOSPC}, {SC_IO_ALLOCATE, EFBIG}, {SC_IO_TRUNCATE, EIO},
    {SC_IO_RENAME, EIO},  {SC_IO_UNLINK, EACCES},   {SC_IO_ANY, EIO},
};

START_TEST(every_call_may_fail)
{
    quiet();
    for (int once = 0; once < 2; once++) {
        uint64_t countdown = 1;
        while (run(faults[_i].calls, countdown, faults[_i].error, once != 0)) {
            countdown += countdown < 40 ? 1 : 9;
        }
    }
}
END_TEST

/* ---- Named cases ---- */

static void setup(void)
{
    quiet();
    fixture_init(&f);
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    fixture_open(&f);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    fixture_fini(&f);
}

static enum sc_status try_put(const char *key, const char *value)
{
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = sc_slice_str(key);
    return sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(value), &options, &version,
                          &f.position, f.why);
}

START_TEST(failed_sync_makes_the_store_read_only)
{
    put(&f, "a", "acknowledged");
    ck_assert_int_eq(try_put("a", "lost"), SC_OK);
    ck_assert_int_eq(try_put("b", "lost"), SC_OK);
    (void)sc_io_fault(SC_IO_SYNC, 1, EIO, true);
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_IO);
    ck_assert_ptr_nonnull(sc_bitcask_failed(f.store));
    /* It is not tried again, though it would seem to work. */
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_IO);
    ck_assert(!sc_bitcask_commit_wanted(f.store));
    ck_assert(sc_bitcask_lost(f.store, f.position));
    ck_assert_int_eq(try_put("c", "refused"), SC_IO);
    const char *value;
    ck_assert_int_eq(get(&f, "a", &value), SC_IO);
    expect(&f, "never there", NULL);
    ck_assert_int_eq(sc_bitcask_close(f.store), SC_IO);
    f.store = NULL;
}
END_TEST

START_TEST(reads_of_older_records_go_on_after_a_failure)
{
    put(&f, "a", "acknowledged");
    ck_assert_int_eq(try_put("b", "lost"), SC_OK);
    (void)sc_io_fault(SC_IO_WRITE, 1, EIO, false);
    ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_IO);
    expect(&f, "a", "acknowledged");
    ck_assert(!sc_bitcask_lost(f.store, f.position));
}
END_TEST

START_TEST(full_disk_refuses_writes_and_changes_nothing)
{
    put(&f, "a", "before");
    (void)sc_io_fault(SC_IO_ALLOCATE, 1, ENOSPC, false);
    char big[8192];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    enum sc_status status = SC_OK;
    for (int i = 0; i < 1000 && status == SC_OK; i++) {
        status = try_put("big", big);
        ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    }
    ck_assert_int_eq(status, SC_IO);
    ck_assert_ptr_nonnull(strstr(f.why, strerror(ENOSPC)));
    ck_assert_ptr_null(sc_bitcask_failed(f.store));
    expect(&f, "a", "before");
    expect(&f, "big", big);
    /* Deleting goes on, so that there is a way out. */
    ck_assert(del(&f, "big"));
    expect(&f, "big", NULL);
    /* And when space has been freed, so does writing. */
    (void)sc_io_fault(0, 0, 0, false);
    put(&f, "big", big);
    fixture_reopen(&f);
    expect(&f, "a", "before");
    expect(&f, "big", big);
}
END_TEST

START_TEST(limit_on_file_sizes_refuses_writes)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    put(&f, "a", "before");
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {.rlim_cur = (4u << 20) + 4711, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char big[50000];
    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    enum sc_status status = SC_OK;
    for (int i = 0; i < 1000 && status == SC_OK; i++) {
        status = try_put("big", big);
        ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    }
    ck_assert_int_eq(status, SC_IO);
    ck_assert_ptr_nonnull(strstr(f.why, strerror(EFBIG)));
    ck_assert(del(&f, "big"));
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    put(&f, "big", big);
    fixture_reopen(&f);
    expect(&f, "a", "before");
    expect(&f, "big", big);
}
END_TEST

START_TEST(failed_creation_of_a_file_leaves_nothing_behind)
{
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    char value[1000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    put(&f, "a", value);
    size_t files = data_files(f.dir);
    (void)sc_io_fault(SC_IO_RENAME, 1, ENOSPC, false);
    enum sc_status status = SC_OK;
    for (int i = 0; i < 20; i++) {
        status = try_put("a", value);
        ck_assert(status == SC_OK || status == SC_IO);
        ck_assert_int_eq(sc_bitcask_commit(f.store, false), SC_OK);
    }
    ck_assert_int_eq(status, SC_IO);
    ck_assert_uint_eq(data_files(f.dir), files);
    (void)sc_io_fault(0, 0, 0, false);
    put(&f, "b", value);
    fixture_reopen(&f);
    ck_assert_uint_eq(f.event_count, 0);
    expect(&f, "a", value);
    expect(&f, "b", value);
}
END_TEST

/* A store with a few sealed files that have hints. */
static void make_hinted_store(void)
{
    char name[16];
    char value[1000];
    uint64_t number;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    f.options.file_size_max = 4096;
    fixture_reopen(&f);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(name, sizeof name, "key-%d", i);
        put(&f, name, value);
    }
    while (sc_bitcask_hint_pending(f.store, &number)) {
        sc_bitcask_hint_built(f.store, number, sc_bitcask_hint_build(f.store, number));
    }
    fixture_close(&f);
}

START_TEST(a_hint_that_the_disk_cannot_bring_is_read_around)
{
    char name[16];
    unsigned around = 0;
    enum sc_status status = SC_IO;
    make_hinted_store();
    for (uint64_t countdown = 1; countdown < 200; countdown++) {
        (void)sc_io_fault(SC_IO_READ, countdown, EIO, true);
        status = fixture_try_open(&f);
        bool failed = sc_io_fault(0, 0, 0, false) >= countdown;
        if (status != SC_OK) {
            ck_assert_ptr_null(strstr(f.why, ".hint"));
            continue;
        }
        around += (unsigned)fixture_events(&f, SC_EVENT_HINT);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 0);
        for (int i = 0; i < 12; i++) {
            const char *value;
            (void)snprintf(name, sizeof name, "key-%d", i);
            ck_assert_int_eq(get(&f, name, &value), SC_OK);
        }
        fixture_close(&f);
        if (!failed) {
            break;
        }
    }
    ck_assert_int_eq(status, SC_OK);
    ck_assert_uint_ge(around, 3); /* header, head of a block, block */
}
END_TEST

START_TEST(a_hint_that_cannot_be_opened_for_another_reason_is_kept)
{
    make_hinted_store();
    for (uint64_t countdown = 1; countdown < 100; countdown++) {
        (void)sc_io_fault(SC_IO_OPEN, countdown, EMFILE, true);
        enum sc_status status = fixture_try_open(&f);
        (void)sc_io_fault(0, 0, 0, false);
        if (status == SC_OK) {
            break;
        }
        ck_assert_ptr_nonnull(strstr(f.why, strerror(EMFILE)));
    }
    ck_assert_uint_eq(f.event_count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault");
    TCase *each = tcase_create("every call");
    tcase_add_loop_test(each, every_call_may_fail, 0, (int)(sizeof faults / sizeof *faults));
    suite_add_tcase(suite, each);
    TCase *named = tcase_create("named");
    tcase_add_checked_fixture(named, setup, teardown);
    tcase_add_test(named, failed_sync_makes_the_store_read_only);
    tcase_add_test(named, reads_of_older_records_go_on_after_a_failure);
    tcase_add_test(named, full_disk_refuses_writes_and_changes_nothing);
    tcase_add_test(named, limit_on_file_sizes_refuses_writes);
    tcase_add_test(named, failed_creation_of_a_file_leaves_nothing_behind);
    tcase_add_test(named, a_hint_that_the_disk_cannot_bring_is_read_around);
    tcase_add_test(named, a_hint_that_cannot_be_opened_for_another_reason_is_kept);
    suite_add_tcase(suite, named);
    return sc_check_main(suite);
}
