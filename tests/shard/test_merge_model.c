/*
 * Merges against a model: operations at random, also while a merge is under way, merges, clean
 * starts and kills; and in children that a failpoint kills at every durable step. The seed is
 * printed; SC_TEST_SEED repeats it and SC_TEST_RUNS sets how many runs there are.
 */
#include "tests/shard/merging.h"

#include "common/bytes.h"
#include "common/clock.h"
#include "shard/record.h"
#include "tests/check_main.h"
#include "tests/random.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define KEYS 30
#define GENERATION_US (INT64_C(7200) * 1000000)
#define TTL_MS (UINT64_C(3600) * 1000)

/* What a key holds: number 0 is nothing, else the value is made from it. */
struct state {
    uint32_t number;
    uint32_t generation; /* it is gone when the world has a later one; 0: never */
};

/* In shared memory: a child writes it, and the parent reads it when the child is dead. */
struct world {
    struct test_random random;
    struct state now[KEYS]; /* acknowledged */
    struct state next[KEYS]; /* by the operation under way */
    bool busy; /* there is one */
    uint32_t number;
    uint32_t generation; /* the clock moves by GENERATION_US with each */
};

static struct world *world;
static struct fixture f;
static struct merging m;
static unsigned run_number;

static void setup(void)
{
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(world, MAP_FAILED);
    fixture_init(&f);
    merging_init(&m, &f);
}

static void teardown(void)
{
    sc_clock_shift(0);
    sc_merge_free(m.merge);
    fixture_fini(&f);
    (void)munmap(world, sizeof *world);
}

static uint32_t any(uint32_t limit)
{
    return (uint32_t)test_random_below(&world->random, limit);
}

#define CHECK(condition) \
    ck_assert_msg(condition, "run %u: %s (%s; %s)", run_number, #condition, f.why, m.why)

/* ---- The model ---- */

static struct sc_slice key_of(unsigned i)
{
    static char key[16];
    return sc_slice(key, (size_t)snprintf(key, sizeof key, "key-%u", i));
}

static struct sc_slice value_of(uint32_t number)
{
    static char value[600];
    int size = snprintf(value, sizeof value, "%u:", number);
    int more = (int)(number * 37 % 500);
    memset(value + size, 'v', (size_t)more);
    return sc_slice(value, (size_t)(size + more));
}

static bool is_there(const struct state *state)
{
    return state->number > 0 && (state->generation == 0 || state->generation >= world->generation);
}

static void begin(void)
{
    memcpy(world->next, world->now, sizeof world->now);
    world->busy = true;
}

static void acknowledge(void)
{
    CHECK(sc_bitcask_commit(f.store, false) == SC_OK);
    memcpy(world->now, world->next, sizeof world->now);
    world->busy = false;
}

/* Whether the store has this state for the key. */
static bool holds(unsigned i, const struct state *state)
{
    struct sc_buf value = {0};
    struct sc_slice key = key_of(i);
    enum sc_status status =
        sc_bitcask_get(f.store, key, sc_slot_hash(key), &value, &f.position, f.why);
    CHECK(status == SC_OK || status == SC_NOTFOUND);
    bool same = is_there(state) ? status == SC_OK &&
                                      sc_slice_equal(sc_buf_slice(&value), value_of(state->number))
                                : status == SC_NOTFOUND;
    sc_buf_fini(&value);
    return same;
}

/* ---- Steps ---- */

static void step_put(void)
{
    unsigned i = any(KEYS);
    struct sc_slice key = key_of(i);
    uint64_t version;
    const uint64_t ttl_ms = TTL_MS;
    const struct sc_bitcask_write options = {.ttl_ms = any(2) == 0 ? &ttl_ms : NULL};
    begin();
    world->next[i] =
        (struct state){++world->number, options.ttl_ms != NULL ? world->generation : 0};
    CHECK(sc_bitcask_put(f.store, key, sc_slot_hash(key), value_of(world->number), &options,
                         &version, &f.position, f.why) == SC_OK);
    acknowledge();
}

static void step_del(void)
{
    unsigned i = any(KEYS);
    struct sc_slice key = key_of(i);
    bool existed;
    const struct sc_bitcask_write options = {0};
    begin();
    world->next[i] = (struct state){0};
    CHECK(sc_bitcask_del(f.store, key, sc_slot_hash(key), &options, &existed, &f.position, f.why) ==
          SC_OK);
    CHECK(existed == is_there(&world->now[i]));
    acknowledge();
}

static void step_clear(void)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    uint64_t removed;
    memset(owned, any(2) == 0 ? 0xff : 0x0f, sizeof owned);
    begin();
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t slot = sc_slot_of_key(key_of(i));
        if ((owned[slot / 8] >> slot % 8 & 1) != 0) {
            world->next[i] = (struct state){0};
        }
    }
    CHECK(sc_bitcask_clear(f.store, owned, &removed, &f.position, f.why) == SC_OK);
    acknowledge();
}

static void set_clock(void)
{
    sc_clock_shift(world->generation * GENERATION_US);
}

static void step(void)
{
    uint32_t choice = any(100);
    if (choice < 60) {
        step_put();
    } else if (choice < 90) {
        step_del();
    } else if (choice < 92) {
        step_clear();
    } else if (choice < 94) {
        world->generation++;
        set_clock();
    } else if (choice < 97) {
        (void)sc_bitcask_sweep(f.store, SC_SLOT_COUNT);
    } else {
        unsigned i = any(KEYS);
        CHECK(holds(i, &world->now[i]));
    }
}

static void step_beside(void *arg)
{
    (void)arg;
    if (any(4) == 0) {
        step();
    }
}

static void step_merge(void)
{
    if (any(4) == 0) {
        sc_merge_ask(m.merge);
    }
    enum sc_status status = merge_once(&m);
    CHECK(status == SC_OK || status == SC_NOTFOUND);
}

/* ---- The whole ---- */

static void open_store(void)
{
    set_clock();
    f.options.file_size_max = 4096u << any(3);
    m.options.dead_percent = 1 + any(60);
    m.beside = step_beside;
    merging_open(&m);
    CHECK(f.event_count == 0);
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    CHECK(data_files(f.dir) == stats.files);
}

/* All keys are as they should be; live bytes too, so that nothing is kept twice. */
static void check_all(void)
{
    uint64_t keys = 0;
    uint64_t live = 0;
    (void)sc_bitcask_sweep(f.store, SC_SLOT_COUNT);
    for (unsigned i = 0; i < KEYS; i++) {
        if (world->busy && holds(i, &world->next[i])) {
            world->now[i] = world->next[i]; /* it came through before the end */
        }
        CHECK(holds(i, &world->now[i]));
        if (is_there(&world->now[i])) {
            keys++;
            live += sc_record_size(key_of(i).size, value_of(world->now[i].number).size);
        }
    }
    world->busy = false;
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(f.store, &stats);
    CHECK(stats.keys == keys);
    CHECK(stats.live_bytes == live);
}

static void begin_run(uint64_t seed)
{
    *world = (struct world){.random = {seed}, .generation = 1};
    dir_remove(f.dir);
    open_store();
}

START_TEST(runs_against_a_model)
{
    const char *given = getenv("SC_TEST_RUNS");
    unsigned runs = given != NULL ? (unsigned)strtoul(given, NULL, 0) : 300;
    uint64_t seed = test_random_start("merge model").state;
    for (run_number = 0; run_number < runs; run_number++) {
        begin_run(seed + run_number);
        for (int i = 0; i < 150; i++) {
            uint32_t choice = any(100);
            if (choice < 92) {
                step();
            } else if (choice < 98) {
                step_merge();
            } else {
                (choice == 98 ? merging_close : merging_kill)(&m);
                open_store();
                check_all();
            }
        }
        m.beside = NULL;
        compact(&m);
        check_all();
        merging_reopen(&m);
        check_all();
        merging_close(&m);
    }
}
END_TEST

/* ---- Crashes at every durable step ---- */

static const char *const failpoints[] = {
    "merge_before_reserve", "merge_reserved",     "merge_output_created", "merge_output_written",
    "merge_output_synced",  "merge_hint_written", "merge_before_sync",    "merge_before_manifest",
    "merge_after_manifest", "merge_moved",        "merge_before_unlink",  "merge_unlinked",
    "replace_written",      "replace_renamed",
};
#define FAILPOINTS (sizeof failpoints / sizeof *failpoints)

/* Works until the failpoint is passed, or for a while. */
static void child(const char *failpoint, unsigned count)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s:%u", failpoint, count);
    (void)setenv("SHARDCASK_FAILPOINT", text, 1);
    open_store();
    for (int i = 0; i < 400; i++) {
        if (any(10) == 0) {
            step_merge();
        } else {
            step();
        }
    }
    _exit(0);
}

/* Runs a child on the store; returns whether it was killed. */
static bool crash(const char *failpoint, unsigned count)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        child(failpoint, count);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return killed;
}

/* pybitcask 6: a partial file of a merge became the active one; rosedb #316, #342: a merge was half
 * swapped in. */
START_TEST(crashes_at_every_step_leave_a_whole_store)
{
    const char *given = getenv("SC_TEST_RUNS");
    unsigned runs = given != NULL ? (unsigned)strtoul(given, NULL, 0) : 8 * FAILPOINTS;
    uint64_t seed = test_random_start("merge crashes").state;
    unsigned killed[FAILPOINTS] = {0};
    begin_run(seed);
    merging_close(&m);
    for (run_number = 0; run_number < runs; run_number++) {
        size_t failpoint = run_number % FAILPOINTS;
        if (crash(failpoints[failpoint], 1 + any(run_number < 2 * FAILPOINTS ? 1 : 6))) {
            killed[failpoint]++;
        }
        open_store();
        check_all();
        if (any(3) == 0) {
            step_merge();
            check_all();
        }
        if (any(2) == 0) {
            merging_close(&m);
        } else {
            merging_kill(&m);
        }
    }
    for (size_t i = 0; i < FAILPOINTS && runs >= 4 * FAILPOINTS; i++) {
        ck_assert_msg(killed[i] > 0, "%s was never passed", failpoints[i]);
    }
}
END_TEST

/* ---- Power ---- */

/* What replaces a record that a merge left out must be on the disk when the merge counts. */
START_TEST(power_failure_after_a_merge_loses_nothing_durable)
{
    *world = (struct world){.random = {1}, .generation = 1};
    f.options.file_size_max = 4096;
    merging_open(&m);
    for (int i = 0; i < 60; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        (void)put(&f, key, "first, and some more so that there are several files of them");
    }
    ck_assert_int_eq(sc_bitcask_commit(f.store, true), SC_OK);
    for (int i = 0; i < 20; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        (void)put(&f, key, "second");
    }
    ck_assert_int_eq(merge_once(&m), SC_OK);
    char copy[300];
    (void)snprintf(copy, sizeof copy, "%s.power", f.dir);
    dir_copy(f.dir, copy);
    merging_close(&m);
    dir_remove(f.dir);
    ck_assert_int_eq(rename(copy, f.dir), 0);

    /* All that is not known to be synced is lost. */
    char path[512];
    struct sc_durable_mark mark = synced_mark(f.dir);
    forget_boot(f.dir, 0);
    (void)snprintf(path, sizeof path, "%s/%010" PRIu64 ".data", f.dir, mark.file);
    ck_assert_int_eq(truncate(path, (off_t)mark.offset), 0);
    merging_open(&m);
    for (int i = 0; i < 60; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%d", i);
        expect(&f, key,
               i < 20 ? "second" : "first, and some more so that there are several files of them");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge_model");
    TCase *t = tcase_create("model");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, runs_against_a_model);
    tcase_add_test(t, crashes_at_every_step_leave_a_whole_store);
    tcase_add_test(t, power_failure_after_a_merge_loses_nothing_durable);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
