/* Merges on a thread of their own beside one that writes, reads and deletes, and one that commits:
 * for the thread sanitizer above all. */
#include "tests/shard/merging.h"

#include "tests/check_main.h"
#include "tests/random.h"

#include <pthread.h>
#include <stdatomic.h>

#define KEYS 200
#define ROUNDS 20000

static struct fixture f;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static bool committing; /* guarded by the lock, like the store */
static atomic_bool done;
static atomic_uint merges;

static void take(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&lock);
}

static void release(void *arg)
{
    (void)arg;
    (void)pthread_mutex_unlock(&lock);
}

static bool commit_beside(void *arg)
{
    bool sync = arg != NULL;
    take(NULL);
    while (committing) {
        (void)pthread_cond_wait(&ended, &lock);
    }
    bool good = true;
    struct sc_bitcask_commit *commit = sc_bitcask_commit_begin(f.store, sync);
    if (commit != NULL) {
        committing = true;
        release(NULL);
        sc_bitcask_commit_run(commit);
        take(NULL);
        good = sc_bitcask_commit_end(f.store, commit) == SC_OK;
        committing = false;
        (void)pthread_cond_broadcast(&ended);
    }
    release(NULL);
    return good;
}

static bool proceed(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

static void *merge_thread(void *arg)
{
    const struct sc_merge_host host = {take, release, commit_beside, proceed, &done};
    struct sc_merge *merge = arg;
    char why[SC_WHY_SIZE];
    while (!atomic_load(&done)) {
        enum sc_status status = sc_merge_run(merge, &host, why);
        must(status == SC_OK || status == SC_NOTFOUND);
        if (status == SC_OK) {
            atomic_fetch_add(&merges, 1);
        }
        take(NULL);
        sc_merge_ask(merge);
        release(NULL);
    }
    return NULL;
}

static void *commit_thread(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        must(commit_beside(NULL));
        take(NULL);
        uint64_t number;
        bool pending = sc_bitcask_hint_pending(f.store, &number);
        (void)pending;
        release(NULL);
    }
    return NULL;
}

static struct sc_slice key_of(unsigned i)
{
    static char key[16];
    return sc_slice(key, (size_t)snprintf(key, sizeof key, "key-%u", i));
}

static struct sc_slice value_of(unsigned number)
{
    static char value[400];
    memset(value, 'v', sizeof value);
    size_t size = (size_t)snprintf(value, sizeof value, "%u:", number);
    value[size] = 'v';
    return sc_slice(value, size + number * 31 % 300);
}

static void check(unsigned i, unsigned number)
{
    struct sc_buf value = {0};
    struct sc_slice key = key_of(i);
    enum sc_status status =
        sc_bitcask_get(f.store, key, sc_slot_hash(key), &value, &f.position, f.why);
    must(status == (number > 0 ? SC_OK : SC_NOTFOUND));
    must(number == 0 || sc_slice_equal(sc_buf_slice(&value), value_of(number)));
    sc_buf_fini(&value);
}

START_TEST(traffic_beside_merges_sees_what_it_wrote)
{
    unsigned numbers[KEYS] = {0};
    struct test_random random = test_random_start("merge thread");
    pthread_t threads[2];
    fixture_init(&f);
    f.options.file_size_max = 32768;
    fixture_open(&f);
    struct sc_merge *merge = sc_merge_alloc(f.store);
    const struct sc_merge_options options = {.dead_percent = 10};
    sc_merge_configure(merge, &options);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, merge_thread, merge), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, commit_thread, NULL), 0);
    for (unsigned round = 1; round <= ROUNDS || atomic_load(&merges) < 10; round++) {
        unsigned i = (unsigned)test_random_below(&random, KEYS);
        uint64_t choice = test_random_below(&random, 10);
        struct sc_slice key = key_of(i);
        const struct sc_bitcask_write write = {0};
        take(NULL);
        if (choice < 5) {
            uint64_t version;
            must(sc_bitcask_put(f.store, key, sc_slot_hash(key), value_of(round), &write, &version,
                                &f.position, f.why) == SC_OK);
            numbers[i] = round;
        } else if (choice < 7) {
            bool existed;
            must(sc_bitcask_del(f.store, key, sc_slot_hash(key), &write, &existed, &f.position,
                                f.why) == SC_OK);
            must(existed == (numbers[i] > 0));
            numbers[i] = 0;
        } else {
            check(i, numbers[i]);
        }
        release(NULL);
    }
    atomic_store(&done, true);
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    sc_merge_free(merge);
    for (int turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < KEYS; i++) {
            check(i, numbers[i]);
        }
        fixture_reopen(&f);
        ck_assert_uint_eq(f.event_count, 0);
    }
    fixture_fini(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge_thread");
    TCase *t = tcase_create("merge_thread");
    tcase_add_test(t, traffic_beside_merges_sees_what_it_wrote);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
