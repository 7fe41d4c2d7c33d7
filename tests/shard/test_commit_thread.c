/* Commits and hints on threads of their own beside operations: for the thread sanitizer, and to see
 * that nothing is lost on the way. */
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <pthread.h>

#define KEYS 500
#define WRITES 20000

/* The store is guarded by `lock`, as in the daemon. */
static struct fixture f;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool over;

static void setup(void)
{
    fixture_init(&f);
    f.options.file_size_max = 32 << 10;
    f.options.zeros_ahead = 3000;
    f.options.sync_ms = SC_BITCASK_SYNC_ALWAYS;
    fixture_open(&f);
    over = false;
}

static void teardown(void)
{
    fixture_fini(&f);
}

static void *commit_all(void *unused)
{
    (void)unused;
    bool last = false;
    while (!last) {
        (void)pthread_mutex_lock(&lock);
        last = over;
        struct sc_bitcask_commit *commit_ = sc_bitcask_commit_begin(f.store, last);
        (void)pthread_mutex_unlock(&lock);
        if (commit_ != NULL) {
            sc_bitcask_commit_run(commit_);
            (void)pthread_mutex_lock(&lock);
            ck_assert_int_eq(sc_bitcask_commit_end(f.store, commit_), SC_OK);
            (void)pthread_mutex_unlock(&lock);
        }
    }
    return NULL;
}

static void *build_hints(void *unused)
{
    (void)unused;
    bool last = false;
    while (!last) {
        uint64_t number;
        (void)pthread_mutex_lock(&lock);
        last = over;
        bool pending = sc_bitcask_hint_pending(f.store, &number);
        (void)pthread_mutex_unlock(&lock);
        if (pending) {
            enum sc_status status = sc_bitcask_hint_build(f.store, number);
            ck_assert_int_eq(status, SC_OK);
            (void)pthread_mutex_lock(&lock);
            sc_bitcask_hint_built(f.store, number, status);
            (void)pthread_mutex_unlock(&lock);
        }
    }
    return NULL;
}

static int values[KEYS];

static void key_of(int key, char name[16])
{
    (void)snprintf(name, 16, "key-%d", key);
}

static void write_one(int i)
{
    char key[16];
    char value[64];
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    key_of(i * 7 % KEYS, key);
    (void)snprintf(value, sizeof value, "%d and some more to fill files with", i);
    values[i * 7 % KEYS] = i;
    struct sc_slice k = sc_slice_str(key);
    ck_assert_int_eq(sc_bitcask_put(f.store, k, sc_slot_hash(k), sc_slice_str(value), &options,
                                    &version, &f.position, f.why),
                     SC_OK);
}

static void check_one(int key)
{
    char name[16];
    const char *value;
    key_of(key, name);
    enum sc_status status = get(&f, name, &value);
    ck_assert_int_eq(status, values[key] < 0 ? SC_NOTFOUND : SC_OK);
    ck_assert(values[key] < 0 || atoi(value) == values[key]);
}

START_TEST(operations_go_on_beside_commits_and_hints)
{
    pthread_t committer;
    pthread_t builder;
    for (int i = 0; i < KEYS; i++) {
        values[i] = -1;
    }
    ck_assert_int_eq(pthread_create(&committer, NULL, commit_all, NULL), 0);
    ck_assert_int_eq(pthread_create(&builder, NULL, build_hints, NULL), 0);
    for (int i = 0; i < WRITES; i++) {
        (void)pthread_mutex_lock(&lock);
        write_one(i);
        check_one(i * 13 % KEYS);
        over = i == WRITES - 1;
        (void)pthread_mutex_unlock(&lock);
    }
    (void)pthread_join(committer, NULL);
    (void)pthread_join(builder, NULL);
    ck_assert_uint_eq(sc_bitcask_committed(f.store), sc_bitcask_appended(f.store));
    fixture_kill(&f);
    fixture_open(&f);
    ck_assert_uint_eq(f.event_count, 0);
    for (int i = 0; i < KEYS; i++) {
        check_one(i);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("commit thread");
    TCase *tcase = tcase_create("commit thread");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, operations_go_on_beside_commits_and_hints);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
