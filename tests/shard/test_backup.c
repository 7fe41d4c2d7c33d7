/* Backups: what they hold, that nothing which happens beside them shows, and what is left of one
 * that fails. */
#include "shard/backup.h"

#include "common/clock.h"
#include "shard/bitcask_impl.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/random.h"
#include "tests/shard/merging.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <xxhash.h>

enum { KEYS = 300, CHANGES_MAX = 200000 };

static struct fixture f;
static struct merging m;
static char parent[300]; /* of backups: beside the store */
static struct test_random rng;

/* All that ever happened, so that it is known what there was at any version. */
struct change {
    size_t key;
    uint64_t version;
    unsigned value; /* 0: it was deleted */
};
static struct change *changes;
static size_t change_count;
static unsigned written;

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = 8192;
    merging_init(&m, &f);
    merging_open(&m);
    (void)snprintf(parent, sizeof parent, "%s.backups", f.dir);
    changes = sc_calloc(CHANGES_MAX, sizeof *changes);
    change_count = 0;
}

static void remove_backup(const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    dir_remove(path);
}

static void teardown(void)
{
    sc_io_fault(0, 0, 0, false);
    sc_clock_shift(0);
    sc_merge_free(m.merge);
    fixture_fini(&f);
    free(changes);
    (void)rmdir(parent);
}

/* ---- Changes ---- */

static struct sc_slice key_of(size_t i, char room[16])
{
    (void)snprintf(room, 16, "key-%zu", i);
    return sc_slice_str(room);
}

static void note(size_t i, uint64_t version, unsigned value)
{
    ck_assert_uint_lt(change_count, CHANGES_MAX);
    changes[change_count++] = (struct change){i, version, value};
}

static void change_key(size_t i)
{
    char room[16];
    char text[64];
    struct sc_slice key = key_of(i, room);
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    if (test_random_below(&rng, 4) == 0) {
        bool existed;
        ck_assert_int_eq(
            sc_bitcask_del(f.store, key, sc_slot_hash(key), &options, &existed, &f.position, f.why),
            SC_OK);
        note(i, f.store->clock.last, 0);
        return;
    }
    (void)snprintf(text, sizeof text, "value %u, padded to some length", ++written);
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str(text), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    note(i, version, written);
}

/* Some changes; all are committed. */
static void change(int count)
{
    for (int n = 0; n < count; n++) {
        change_key(test_random_below(&rng, KEYS));
    }
    commit(&f);
}

static void fill(void)
{
    for (int i = 0; i < 30; i++) {
        change(30);
    }
}

/* ---- Backups ---- */

struct surroundings {
    bool changing; /* whenever the lock would be free */
    bool busy;
    uint64_t stop_after; /* calls of proceed; 0: never */
    uint64_t proceeded;
};

static void pass(struct surroundings *s)
{
    if (s->changing && !s->busy) {
        s->busy = true;
        change(5);
        if (test_random_below(&rng, 5) == 0) {
            (void)merge_once(&m);
        }
        s->busy = false;
    }
}

static void host_lock(void *arg)
{
    pass(arg);
}

static bool host_proceed(void *arg, uint64_t bytes)
{
    struct surroundings *s = arg;
    (void)bytes;
    pass(s);
    return s->stop_after == 0 || ++s->proceeded < s->stop_after;
}

static enum sc_status try_backup(struct sc_backup *backup, struct surroundings *s, const char *name,
                                 bool copy)
{
    const struct sc_backup_host host = {host_lock, host_lock, host_proceed, s};
    return sc_backup_run(backup, &host, parent, name, copy, f.why);
}

static struct sc_backup *make_backup(const char *name, bool copy, bool changing)
{
    struct surroundings s = {.changing = changing};
    struct sc_backup *backup = sc_backup_alloc(f.store);
    enum sc_status status = try_backup(backup, &s, name, copy);
    ck_assert_msg(status == SC_OK, "%d %s", status, f.why);
    ck_assert_ptr_null(f.store->pins);
    return backup;
}

/* Opens the directory of a backup as a store. */
static void open_backup(struct fixture *copy, const char *name)
{
    memset(copy, 0, sizeof *copy);
    copy->options = f.options;
    copy->events = calloc(EVENTS_MAX, sizeof *copy->events);
    size_t size = strlen(parent);
    ck_assert_uint_lt(size + strlen(name) + 1, sizeof copy->dir);
    memcpy(copy->dir, parent, size);
    (void)sprintf(copy->dir + size, "/%s", name);
    copy->options.read_only = true;
    fixture_open(copy);
    ck_assert_uint_eq(copy->event_count, 0);
}

static void close_backup(struct fixture *copy)
{
    fixture_close(copy);
    free(copy->events);
}

/* What a key had at a version; NULL: it was not there. */
static const char *value_at(size_t i, uint64_t version)
{
    static char text[64];
    unsigned value = 0;
    uint64_t newest = 0;
    for (size_t n = 0; n < change_count; n++) {
        if (changes[n].key == i && changes[n].version <= version && changes[n].version >= newest) {
            newest = changes[n].version;
            value = changes[n].value;
        }
    }
    (void)snprintf(text, sizeof text, "value %u, padded to some length", value);
    return value != 0 ? text : NULL;
}

static void check_backup(const char *name, const struct sc_backup_figures *figures)
{
    struct fixture copy;
    char room[16];
    uint64_t keys = 0;
    open_backup(&copy, name);
    for (size_t i = 0; i < KEYS; i++) {
        const char *value = value_at(i, figures->version);
        (void)key_of(i, room);
        expect(&copy, room, value);
        keys += value != NULL ? 1 : 0;
    }
    ck_assert_uint_eq(figures->keys, keys);
    close_backup(&copy);
}

static struct stat stat_of(const char *dir, const char *name, const char *file)
{
    char path[700];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s/%s", dir, name, file);
    ck_assert_int_eq(stat(path, &info), 0);
    return info;
}

/* Sizes and checksums are those of the files; returns how many are links. */
static size_t check_files(const struct sc_backup *backup, const char *name)
{
    size_t count;
    size_t linked = 0;
    char path[700];
    const struct sc_backup_file *files = sc_backup_files(backup, &count);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/%s/%s", parent, name, files[i].name);
        struct sc_buf bytes = file_read(path);
        ck_assert_uint_eq(bytes.size, files[i].size);
        ck_assert_uint_eq(XXH3_64bits(bytes.data, bytes.size), files[i].checksum);
        ck_assert(files[i].linked || stat_of(parent, name, files[i].name).st_nlink == 1);
        linked += files[i].linked ? 1 : 0;
        sc_buf_fini(&bytes);
    }
    return linked;
}

/* ---- Tests ---- */

START_TEST(a_backup_holds_what_was_acknowledged_at_one_moment)
{
    rng = test_random_start("moment");
    fill();
    for (int i = 0; i < 6; i++) {
        bool copy = i % 3 == 2;
        struct sc_backup_figures figures;
        struct sc_backup *backup = make_backup("one", copy, true);
        sc_backup_figures(backup, &figures);
        ck_assert(figures.cut);
        ck_assert_uint_eq(figures.bytes, figures.bytes_done);
        fill();
        merge_all(&m); /* the store's own files go, those of the backup stay */
        size_t linked = check_files(backup, "one");
        ck_assert(copy ? linked == 0 : linked > 3);
        check_backup("one", &figures);
        sc_backup_free(backup);
        remove_backup("one");
    }
    merging_reopen(&m);
    for (size_t i = 0; i < KEYS; i++) {
        char room[16];
        (void)key_of(i, room);
        expect(&f, room, value_at(i, UINT64_MAX));
    }
}
END_TEST

START_TEST(what_is_not_committed_is_not_in_it)
{
    struct fixture copy;
    put(&f, "acknowledged", "1");
    struct sc_slice key = sc_slice_str("waiting");
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str("2"), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    sc_backup_free(make_backup("one", false, false));
    commit(&f);
    put(&f, "later", "3");
    open_backup(&copy, "one");
    expect(&copy, "acknowledged", "1");
    expect(&copy, "waiting", NULL);
    expect(&copy, "later", NULL);
    close_backup(&copy);
    remove_backup("one");
    expect(&f, "waiting", "2");
}
END_TEST

START_TEST(sealed_files_take_no_space)
{
    rng = test_random_start("links");
    fill();
    struct sc_backup *backup = make_backup("one", false, false);
    size_t count;
    const struct sc_backup_file *files = sc_backup_files(backup, &count);
    size_t copied = 0;
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(stat_of(parent, "one", files[i].name).st_nlink, files[i].linked ? 2 : 1);
        copied += files[i].linked ? 0 : 1;
    }
    ck_assert_uint_eq(copied, 3); /* the active file, HORIZON, MANIFEST */
    sc_backup_free(backup);
    remove_backup("one");
}
END_TEST

START_TEST(an_empty_store_has_a_backup_too)
{
    struct fixture copy;
    sc_backup_free(make_backup("one", false, false));
    open_backup(&copy, "one");
    ck_assert_uint_eq(sc_bitcask_count(copy.store, NULL, &copy.position), 0);
    close_backup(&copy);
    remove_backup("one");
}
END_TEST

START_TEST(a_backup_can_be_written_to_and_is_not_the_store)
{
    struct fixture copy;
    uint8_t cluster[16] = {1, 2, 3};
    ck_assert_int_eq(sc_bitcask_adopt(f.store, cluster, 7, f.why), SC_OK);
    put(&f, "key", "before");
    sc_backup_free(make_backup("one", false, false));
    put(&f, "key", "after");
    open_backup(&copy, "one");
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(copy.store, &identity);
    ck_assert(identity.adopted && identity.shard_id == 7);
    fixture_close(&copy);
    copy.options.read_only = false;
    fixture_open(&copy);
    put(&copy, "key", "elsewhere");
    put(&copy, "new", "elsewhere");
    fixture_reopen(&copy);
    expect(&copy, "key", "elsewhere");
    close_backup(&copy);
    expect(&f, "key", "after");
    expect(&f, "new", NULL);
    remove_backup("one");
}
END_TEST

START_TEST(expired_keys_do_not_come_back_when_the_clock_is_behind)
{
    struct fixture copy;
    const uint64_t ttl_ms = 60000;
    const struct sc_bitcask_write options = {.ttl_ms = &ttl_ms};
    struct sc_slice key = sc_slice_str("expires");
    uint64_t version;
    ck_assert_int_eq(sc_bitcask_put(f.store, key, sc_slot_hash(key), sc_slice_str("1"), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
    put(&f, "stays", "1");
    sc_clock_shift(61000000);
    sc_backup_free(make_backup("one", false, false));
    sc_clock_shift(0);
    open_backup(&copy, "one");
    expect(&copy, "expires", NULL);
    expect(&copy, "stays", "1");
    close_backup(&copy);
    remove_backup("one");
}
END_TEST

START_TEST(what_is_there_already_is_not_touched)
{
    struct surroundings s = {0};
    char path[600];
    put(&f, "key", "1");
    sc_backup_free(make_backup("one", false, false));
    struct sc_backup *second = sc_backup_alloc(f.store);
    put(&f, "key", "2");
    ck_assert_int_eq(try_backup(second, &s, "one", false), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(f.why, "is there already"));
    sc_backup_free(second);
    struct fixture copy;
    open_backup(&copy, "one");
    expect(&copy, "key", "1");
    close_backup(&copy);
    remove_backup("one");
    (void)snprintf(path, sizeof path, "%s/file", parent);
    file_write(path, "x", 1);
    second = sc_backup_alloc(f.store);
    ck_assert_int_eq(try_backup(second, &s, "file", false), SC_BADREQUEST);
    sc_backup_free(second);
    ck_assert_int_eq(unlink(path), 0);
    second = sc_backup_alloc(f.store);
    ck_assert_int_eq(sc_backup_run(second,
                                   &(struct sc_backup_host){host_lock, host_lock, host_proceed, &s},
                                   "/nonexistent/folder", "one", false, f.why),
                     SC_IO);
    sc_backup_free(second);
}
END_TEST

static bool exists(const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    return access(path, F_OK) == 0;
}

START_TEST(one_that_is_stopped_leaves_nothing)
{
    rng = test_random_start("stop");
    fill();
    for (uint64_t n = 1; n < 1000; n++) {
        struct surroundings s = {.stop_after = n};
        struct sc_backup *backup = sc_backup_alloc(f.store);
        enum sc_status status = try_backup(backup, &s, "one", n % 2 == 0);
        sc_backup_free(backup);
        ck_assert_ptr_null(f.store->pins);
        if (status == SC_OK) {
            ck_assert_uint_gt(n, 5);
            remove_backup("one");
            return;
        }
        ck_assert_int_eq(status, SC_UNAVAILABLE);
        ck_assert(!exists("one"));
    }
    ck_abort_msg("it never came to its end");
}
END_TEST

/* Every call fails once, with each error. */
START_TEST(no_failing_call_leaves_half_a_backup_or_harms_the_store)
{
    static const int errors[] = {EIO, ENOSPC};
    const unsigned calls = SC_IO_ANY & ~(unsigned)SC_IO_UNLINK;
    rng = test_random_start("faults");
    quiet();
    for (int i = 0; i < 8; i++) {
        change(30);
    }
    for (size_t e = 0; e < 4; e++) {
        bool copy = e / 2 == 1;
        for (uint64_t n = 1;; n++) {
            struct surroundings s = {0};
            struct sc_backup *backup = sc_backup_alloc(f.store);
            sc_io_fault(calls, n, errors[e % 2], true);
            enum sc_status status = try_backup(backup, &s, "one", copy);
            uint64_t passed = sc_io_fault(0, 0, 0, false);
            struct sc_backup_figures figures;
            sc_backup_figures(backup, &figures);
            if (status == SC_OK) {
                check_files(backup, "one");
                check_backup("one", &figures);
                remove_backup("one");
            } else {
                ck_assert_msg(status == SC_IO, "%d %s", status, f.why);
                ck_assert(f.why[0] != '\0');
                ck_assert(!exists("one"));
            }
            ck_assert_ptr_null(f.store->pins);
            sc_backup_free(backup);
            if (passed < n) {
                ck_assert_uint_gt(n, 15);
                break;
            }
        }
    }
    change(30);
    merging_reopen(&m);
    for (size_t i = 0; i < KEYS; i++) {
        char room[16];
        (void)key_of(i, room);
        expect(&f, room, value_at(i, UINT64_MAX));
    }
}
END_TEST

/* The process dies at a failpoint; returns whether it came there. */
static bool die_at(const char *failpoint)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)setenv("SHARDCASK_FAILPOINT", failpoint, 1);
        merging_open(&m);
        sc_backup_free(make_backup("one", false, false));
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

START_TEST(one_that_dies_is_no_store_and_the_store_is_whole)
{
    static const char *const points[] = {
        "backup_dir_made", "backup_cut",    "backup_linked",          "backup_linked:3",
        "backup_copied",   "backup_synced", "backup_before_manifest", "backup_after_manifest"};
    rng = test_random_start("deaths");
    fill();
    uint64_t version = f.store->clock.last;
    merging_close(&m);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        ck_assert_msg(die_at(points[i]), "%s is not passed", points[i]);
        struct sc_bitcask *opened;
        char path[600];
        (void)snprintf(path, sizeof path, "%s/one", parent);
        struct sc_bitcask_options options = f.options;
        options.read_only = true;
        enum sc_status status = sc_bitcask_open(path, &options, NULL, NULL, &opened, f.why);
        bool complete = strcmp(points[i], "backup_after_manifest") == 0;
        ck_assert_int_eq(status == SC_OK, complete);
        if (complete) {
            ck_assert_int_eq(sc_bitcask_close(opened), SC_OK);
        }
        dir_remove(path);
        merging_open(&m);
        ck_assert_uint_eq(f.store->clock.last, version);
        ck_assert_uint_eq(fixture_events(&f, SC_EVENT_DAMAGE), 0);
        for (size_t key = 0; key < KEYS; key++) {
            char room[16];
            (void)key_of(key, room);
            expect(&f, room, value_at(key, version));
        }
        merging_close(&m);
    }
    merging_open(&m);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backup");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_backup_holds_what_was_acknowledged_at_one_moment);
    tcase_add_test(tests, what_is_not_committed_is_not_in_it);
    tcase_add_test(tests, sealed_files_take_no_space);
    tcase_add_test(tests, an_empty_store_has_a_backup_too);
    tcase_add_test(tests, a_backup_can_be_written_to_and_is_not_the_store);
    tcase_add_test(tests, expired_keys_do_not_come_back_when_the_clock_is_behind);
    tcase_add_test(tests, what_is_there_already_is_not_touched);
    tcase_add_test(tests, one_that_is_stopped_leaves_nothing);
    tcase_add_test(tests, no_failing_call_leaves_half_a_backup_or_harms_the_store);
    tcase_add_test(tests, one_that_dies_is_no_store_and_the_store_is_whole);
    Suite *suite = suite_create("backup");
    suite_add_tcase(suite, tests);
    return sc_check_main(suite);
}
