/*
 * libshardcask against a real fleet, whose address is in SHARDCASK_TEST_URL (without it: skipped).
 * The store is cleared. The system tests run this program; with the argument `storm` it counts
 * keys up from many threads until its standard input ends, while the test kills what it likes, and
 * prints for each key how often that was acknowledged and how often the outcome was unknown.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/shardcask.h"
#include "common/limits.h"
#include "tests/check_main.h"

static struct shardcask *db;

static void setup(void)
{
    char why[SHARDCASK_WHY_SIZE] = "";
    struct shardcask_options options = {
        .timeout_ms = 120000, /* sanitizers take their time */
        .direct = getenv("SHARDCASK_TEST_DIRECT") != NULL,
    };
    int status = shardcask_open(getenv("SHARDCASK_TEST_URL"), &options, &db, why);
    ck_assert_msg(status == SHARDCASK_OK, "%s", why);
    ck_assert_int_eq(shardcask_clear(db, NULL), SHARDCASK_OK);
}

static void teardown(void)
{
    shardcask_close(db);
}

static void check_ok(int status)
{
    ck_assert_msg(status == SHARDCASK_OK, "status %d: %s", status, shardcask_error());
}

START_TEST(single_keys)
{
    uint64_t first = 0;
    uint64_t second = 0;
    bool yes = false;
    int64_t number = 0;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    check_ok(shardcask_put_json(db, "k", "{\"a\":[1,2.5]}", NULL, &first));
    check_ok(shardcask_put_json(db, "k", "[null]", NULL, &second));
    ck_assert_uint_gt(second, first);
    check_ok(shardcask_get(db, "k", 1, &value));
    ck_assert_uint_eq(value.size, 2);
    ck_assert_mem_eq(value.data, "\x91\xc0", 2);
    check_ok(shardcask_exists(db, "k", 1, &yes));
    ck_assert(yes);
    check_ok(shardcask_incr(db, "n", 1, 40, &number));
    check_ok(shardcask_incr(db, "n", 1, 2, &number));
    ck_assert_int_eq(number, 42);
    ck_assert_int_eq(shardcask_incr(db, "k", 1, 1, &number), SHARDCASK_WRONGTYPE);
    check_ok(shardcask_del(db, "k", 1, NULL, &yes));
    ck_assert(yes);
    ck_assert_int_eq(shardcask_get(db, "k", 1, &value), SHARDCASK_NOTFOUND);
    shardcask_value_free(&value);
}
END_TEST

START_TEST(options_and_expiry)
{
    uint64_t version = 0;
    uint64_t ttl = 100000;
    struct shardcask_meta meta;
    struct shardcask_write absent = {.flags = SHARDCASK_IF_VERSION | SHARDCASK_SYNC};
    check_ok(shardcask_put_str(db, "k", "1", &absent, &version));
    ck_assert_int_eq(shardcask_put_str(db, "k", "2", &absent, NULL), SHARDCASK_MISMATCH);
    struct shardcask_write same = {
        .flags = SHARDCASK_IF_VERSION | SHARDCASK_NO_SYNC, .if_version = version, .ttl_ms = 50000};
    check_ok(shardcask_put_str(db, "k", "2", &same, &version));
    check_ok(shardcask_meta(db, "k", 1, &meta));
    ck_assert(meta.has_ttl && meta.ttl_ms <= 50000 && meta.version == version && meta.size == 2);
    check_ok(shardcask_touch(db, "k", 1, &ttl, &version));
    check_ok(shardcask_meta(db, "k", 1, &meta));
    ck_assert(meta.has_ttl && meta.ttl_ms > 50000 && meta.version == version);
    check_ok(shardcask_touch(db, "k", 1, NULL, NULL));
    check_ok(shardcask_meta(db, "k", 1, &meta));
    ck_assert(!meta.has_ttl);
    struct shardcask_write other = {.flags = SHARDCASK_IF_VERSION, .if_version = 1};
    ck_assert_int_eq(shardcask_del(db, "k", 1, &other, NULL), SHARDCASK_MISMATCH);
    struct shardcask_write soon = {.ttl_ms = 1};
    check_ok(shardcask_put_str(db, "gone", "", &soon, NULL));
    bool yes = true;
    for (int i = 0; i < 10000 && yes; i++) {
        check_ok(shardcask_exists(db, "gone", 4, &yes));
    }
    ck_assert(!yes);
}
END_TEST

START_TEST(sizes_up_to_the_limits)
{
    static char key[SC_KEY_MAX];
    memset(key, 'k', sizeof key);
    uint8_t *bytes = calloc(1, SC_VALUE_MAX_DEFAULT);
    ck_assert_ptr_nonnull(bytes);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    struct shardcask_value back = SHARDCASK_VALUE_INIT;
    check_ok(shardcask_value_set_bytes(&value, bytes, SC_VALUE_MAX_DEFAULT - 5));
    check_ok(shardcask_put(db, key, sizeof key, value.data, value.size, NULL, NULL));
    check_ok(shardcask_get(db, key, sizeof key, &back));
    ck_assert_uint_eq(back.size, SC_VALUE_MAX_DEFAULT);
    ck_assert(memcmp(back.data, value.data, value.size) == 0);
    check_ok(shardcask_value_set_bytes(&value, bytes, SC_VALUE_MAX_DEFAULT - 4));
    ck_assert_int_eq(shardcask_put(db, "k", 1, value.data, value.size, NULL, NULL),
                     SHARDCASK_TOOLARGE);
    shardcask_value_free(&value);
    shardcask_value_free(&back);
    free(bytes);
}
END_TEST

START_TEST(replies_that_do_not_fit_together_are_asked_for_one_by_one)
{
    enum { COUNT = 12 };
    struct shardcask_op ops[COUNT] = {{0}};
    char keys[COUNT][8];
    size_t size = 8u << 20;
    uint8_t *bytes = calloc(1, size);
    ck_assert_ptr_nonnull(bytes);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    check_ok(shardcask_value_set_bytes(&value, bytes, size));
    for (size_t i = 0; i < COUNT; i++) { /* 96 MiB, more than a message holds */
        (void)snprintf(keys[i], sizeof keys[i], "big%zu", i);
        check_ok(shardcask_put(db, keys[i], strlen(keys[i]), value.data, value.size, NULL, NULL));
        ops[i] = (struct shardcask_op){.key = keys[i], .key_size = strlen(keys[i])};
    }
    check_ok(shardcask_mget(db, ops, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert_uint_eq(ops[i].result.size, value.size);
        shardcask_op_clear(&ops[i]);
    }
    shardcask_value_free(&value);
    free(bytes);
}
END_TEST

START_TEST(batches)
{
    enum { COUNT = 5000 };
    static struct shardcask_op ops[COUNT];
    static char keys[COUNT][12];
    uint64_t count = 0;
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "key:%zu", i);
        ops[i] = (struct shardcask_op){
            .key = keys[i], .key_size = strlen(keys[i]), .value = "\x2a", .value_size = 1};
    }
    check_ok(shardcask_mput(db, ops, COUNT));
    check_ok(shardcask_count(db, &count));
    ck_assert_uint_eq(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ops[i].kind = i % 2 == 0 ? SHARDCASK_OP_INCR : SHARDCASK_OP_GET;
        ops[i].delta = 1;
    }
    check_ok(shardcask_batch(db, ops, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].status, SHARDCASK_OK);
        ck_assert(i % 2 == 0 ? ops[i].number == 43 : ops[i].result.size == 1);
    }
    check_ok(shardcask_mdel(db, ops, COUNT));
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert(ops[i].existed);
        shardcask_op_clear(&ops[i]);
    }
    check_ok(shardcask_count(db, &count));
    ck_assert_uint_eq(count, 0);
}
END_TEST

static atomic_uint called;

static void count_call(struct shardcask_op *op)
{
    ck_assert_int_eq(op->status, SHARDCASK_OK);
    atomic_fetch_add(&called, 1);
}

START_TEST(asynchronous_operations)
{
    enum { COUNT = 20000 };
    static struct shardcask_op ops[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        ops[i] =
            (struct shardcask_op){.kind = SHARDCASK_OP_INCR, .key = "n", .key_size = 1, .delta = 1};
        check_ok(shardcask_submit(db, &ops[i], count_call));
    }
    shardcask_drain(db);
    ck_assert_uint_eq(atomic_load(&called), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ops[i].number, (int64_t)i + 1);
    }
}
END_TEST

START_TEST(scans)
{
    enum { COUNT = 3000 };
    static bool seen[COUNT];
    char key_text[16];
    char json[16];
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(key_text, sizeof key_text, "%s:%zu", i < 1000 ? "a" : "b", i);
        (void)snprintf(json, sizeof json, "%zu", i);
        check_ok(shardcask_put_json(db, key_text, json, NULL, NULL));
    }
    struct shardcask_scan_options options = {
        .prefix = "b:", .prefix_size = 2, .page = 77, .values = true};
    struct shardcask_scan *scan;
    const void *key;
    const void *value;
    size_t key_size;
    size_t value_size;
    size_t count = 0;
    int status;
    check_ok(shardcask_scan_open(db, &options, &scan));
    while ((status = shardcask_scan_next(scan, &key, &key_size, &value, &value_size)) ==
           SHARDCASK_OK) {
        int64_t number = -1;
        struct shardcask_value borrowed = {(void *)(uintptr_t)value, value_size, 0};
        check_ok(shardcask_value_get_int(&borrowed, &number));
        ck_assert(number >= 1000 && number < COUNT && !seen[number]);
        seen[number] = true;
        count++;
    }
    ck_assert_int_eq(status, SHARDCASK_NOTFOUND);
    ck_assert_uint_eq(count, 2000);
    shardcask_scan_close(scan);
}
END_TEST

START_TEST(the_whole_store)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    char *json = NULL;
    uint64_t count = 0;
    check_ok(shardcask_put_str(db, "k", "", NULL, NULL));
    check_ok(shardcask_sync(db));
    check_ok(shardcask_compact(db));
    check_ok(shardcask_ping(db, &value));
    check_ok(shardcask_value_get_json(&value, &json, NULL));
    ck_assert_ptr_nonnull(strstr(json, "\"version\""));
    shardcask_free(json);
    check_ok(shardcask_map(db, &value));
    check_ok(shardcask_value_get_json(&value, &json, NULL));
    ck_assert_ptr_nonnull(strstr(json, "\"slots\":16384"));
    shardcask_free(json);
    check_ok(shardcask_stats(db, &value));
    check_ok(shardcask_value_get_json(&value, &json, NULL));
    shardcask_free(json);
    check_ok(shardcask_call(db, "\x92\xa4nope\x01", 7, &value));
    ck_assert_mem_eq(value.data, "\x92\x02", 2);
    check_ok(shardcask_clear(db, &count));
    ck_assert_uint_eq(count, 1);
    shardcask_value_free(&value);
}
END_TEST

enum { THREADS = 32, ROUNDS = 100 };

static void *use(void *arg)
{
    char key[24];
    size_t size = (size_t)snprintf(key, sizeof key, "thread:%" PRIuPTR, (uintptr_t)arg);
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    for (int64_t i = 1; i <= ROUNDS; i++) {
        int64_t number = 0;
        check_ok(shardcask_incr(db, key, size, 1, &number));
        ck_assert_int_eq(number, i);
        check_ok(shardcask_get(db, key, size, &value));
        check_ok(shardcask_value_get_int(&value, &number));
        ck_assert_int_eq(number, i);
    }
    shardcask_value_free(&value);
    return NULL;
}

START_TEST(threads_share_a_handle)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
}
END_TEST

/* ---- The storm ---- */

struct counter {
    pthread_t thread;
    char key[24];
    uint64_t applied;
    uint64_t unknown;
    uint64_t refused;
    uint64_t wrong; /* an answer that cannot be */
    int64_t last;
};

static atomic_bool storm_over;

static void *count_up(void *arg)
{
    struct counter *counter = arg;
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    size_t size = strlen(counter->key);
    while (!atomic_load(&storm_over)) {
        int64_t number = 0;
        int status = shardcask_incr(db, counter->key, size, 1, &number);
        if (status == SHARDCASK_OK) {
            counter->applied++;
            counter->wrong += number <= counter->last;
            counter->last = number;
        } else if (status == SHARDCASK_UNKNOWN || status == SHARDCASK_IO) {
            counter->unknown++;
        } else {
            counter->refused++;
        }
        /* Nobody else writes the key: what was acknowledged must be there. */
        if (shardcask_get(db, counter->key, size, &value) == SHARDCASK_OK) {
            (void)shardcask_value_get_int(&value, &number);
            counter->wrong += number < counter->last;
        }
    }
    shardcask_value_free(&value);
    return NULL;
}

static int storm(void)
{
    static struct counter counters[16];
    enum { COUNT = sizeof counters / sizeof *counters };
    char why[SHARDCASK_WHY_SIZE];
    struct shardcask_options options = {.timeout_ms = 3000,
                                        .direct = getenv("SHARDCASK_TEST_DIRECT") != NULL};
    if (shardcask_open(getenv("SHARDCASK_TEST_URL"), &options, &db, why) != SHARDCASK_OK) {
        fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(counters[i].key, sizeof counters[i].key, "storm:%d", i);
        if (pthread_create(&counters[i].thread, NULL, count_up, &counters[i]) != 0) {
            abort();
        }
    }
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    atomic_store(&storm_over, true);
    for (int i = 0; i < COUNT; i++) {
        const struct counter *c = &counters[i];
        (void)pthread_join(c->thread, NULL);
        printf("%s applied=%" PRIu64 " unknown=%" PRIu64 " refused=%" PRIu64 " wrong=%" PRIu64 "\n",
               c->key, c->applied, c->unknown, c->refused, c->wrong);
    }
    shardcask_close(db);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (getenv("SHARDCASK_TEST_URL") == NULL) {
        puts("skipped: SHARDCASK_TEST_URL is not set");
        return EXIT_SUCCESS;
    }
    if (argc > 1 && strcmp(argv[1], "storm") == 0) {
        return storm();
    }
    Suite *suite = suite_create("client_fleet");
    TCase *tcase = tcase_create("client_fleet");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, single_keys);
    tcase_add_test(tcase, options_and_expiry);
    tcase_add_test(tcase, sizes_up_to_the_limits);
    tcase_add_test(tcase, replies_that_do_not_fit_together_are_asked_for_one_by_one);
    tcase_add_test(tcase, batches);
    tcase_add_test(tcase, asynchronous_operations);
    tcase_add_test(tcase, scans);
    tcase_add_test(tcase, the_whole_store);
    tcase_add_test(tcase, threads_share_a_handle);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
