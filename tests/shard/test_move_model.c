/*
 * Moves against a model: two stores, and slots that go from one to the other and back, while keys
 * are written, deleted, cleared, expire, and are merged in between; moves are given up, repeated
 * and gone on with at random. Then in children that a failpoint kills at every durable step, and on
 * machines whose power fails there. The test has the part of the coordinator: what it remembers for
 * certain is in the world. The seed is printed; SC_TEST_SEED repeats it and SC_TEST_RUNS sets how
 * many runs there are (CK_FORK=no lets them take longer than a test may).
 */
#include "tests/shard/merging.h"
#include "tests/shard/move_driver.h"

#include "common/clock.h"
#include "common/mp.h"
#include "shard/bitcask_impl.h"
#include "tests/check_main.h"
#include "tests/random.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define KEYS 40
#define GENERATION_US (INT64_C(7200) * 1000000)
#define TTL_MS (UINT64_C(3600) * 1000)
#define SKEW_US 5000000

/* What a key holds: number 0 is nothing, else the value is made from it. */
struct state {
    int64_t number;
    bool counter; /* the value is the number itself */
    uint32_t generation; /* it is gone when the world has a later one; 0: never */
};

/* In shared memory: a child writes it, and the parent reads it when the child is dead. */
struct world {
    struct test_random random;
    struct state now[KEYS]; /* acknowledged */
    struct state next[KEYS]; /* by the operation under way */
    bool busy; /* there is one */
    uint64_t version[KEYS]; /* the largest that was told of */
    int64_t number;
    uint32_t generation; /* the clock moves by GENERATION_US with each */
    int64_t skew_us[2]; /* of the clocks of the two */
    bool power; /* it fails as well: what is acknowledged must be synced */

    /* the coordinator's, durable */
    unsigned owner; /* of the slots that move */
    uint64_t term, epoch;
    uint64_t move; /* the last one */
    bool batch; /* it is under way */

    unsigned moved; /* how many came to their end */
};

static struct world *world;
static struct fixture f[2];
static struct merging m[2];
static struct move_driver d;
static uint8_t slots_that_move[SC_SLOT_COUNT / 8];
static unsigned run_number;
static bool begun; /* the move, since both stores were opened */

/* Of four blocks of 512 slots one is always the first store's, the next the other's, the rest
 * moves. */
static unsigned block_of(uint32_t slot)
{
    return slot / 512 % 4;
}

static void setup(void)
{
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(world, MAP_FAILED);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        uint8_t bit = (uint8_t)(block_of(slot) >= 2 ? 1u << slot % 8 : 0);
        slots_that_move[slot / 8] = (uint8_t)(slots_that_move[slot / 8] | bit);
    }
    for (int i = 0; i < 2; i++) {
        fixture_init(&f[i]);
        merging_init(&m[i], &f[i]);
    }
    move_init(&d, &f[0], &f[1]);
}

static void teardown(void)
{
    sc_clock_shift(0);
    move_fini(&d);
    for (int i = 0; i < 2; i++) {
        sc_merge_free(m[i].merge);
        fixture_fini(&f[i]);
    }
    (void)munmap(world, sizeof *world);
}

static uint64_t any(uint64_t limit)
{
    return test_random_below(&world->random, limit);
}

/* Says nothing to Check unless it fails, since that costs a system call. */
#define CHECK(condition)                                                                        \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            ck_abort_msg("run %u: %s (%s; %s; %s)", run_number, #condition, f[0].why, f[1].why, \
                         d.why);                                                                \
        }                                                                                       \
    } while (0)

/* ---- The model ---- */

static struct sc_slice key_of(unsigned i)
{
    static char key[16];
    return sc_slice(key, (size_t)snprintf(key, sizeof key, "key-%u", i));
}

static struct sc_slice value_of(const struct state *state)
{
    static char text[600];
    static struct sc_buf number;
    if (state->counter) {
        number.size = 0;
        sc_mp_put_int(&number, state->number);
        return sc_buf_slice(&number);
    }
    int size = snprintf(text, sizeof text, "%" PRId64 ":", state->number);
    size_t more = (size_t)(state->number * 37 % 500);
    memset(text + size, 'v', more);
    return sc_slice(text, (size_t)size + more);
}

static bool is_there(const struct state *state)
{
    return state->number != 0 && (state->generation == 0 || state->generation >= world->generation);
}

static bool moves(unsigned i)
{
    return sc_bitcask_bit(slots_that_move, sc_slot_of_key(key_of(i)));
}

static unsigned owner_of(unsigned i)
{
    return moves(i) ? world->owner : block_of(sc_slot_of_key(key_of(i)));
}

static void owned_by(unsigned end, uint8_t owned[SC_SLOT_COUNT / 8])
{
    for (uint32_t i = 0; i < SC_SLOT_COUNT / 8; i++) {
        uint8_t steady = block_of(8 * i) == end ? 0xff : 0;
        owned[i] = (uint8_t)(steady | (world->owner == end ? slots_that_move[i] : 0));
    }
}

static void use(void *arg, unsigned end)
{
    (void)arg;
    sc_clock_shift(world->generation * GENERATION_US + world->skew_us[end]);
}

static void begin(void)
{
    memcpy(world->next, world->now, sizeof world->now);
    world->busy = true;
}

static void acknowledge(unsigned end)
{
    CHECK(sc_bitcask_commit(f[end].store, world->power) == SC_OK);
    memcpy(world->now, world->next, sizeof world->now);
    world->busy = false;
}

/* A write that was refused, since the slot is about to move. */
static void refused(unsigned i, enum sc_status status)
{
    CHECK(status == SC_BUSY && moves(i) && world->batch);
    world->busy = false;
}

static void told(unsigned i, uint64_t version)
{
    CHECK(version > world->version[i]);
    world->version[i] = version;
}

/* Whether the store has this state for the key. */
static bool holds(unsigned end, unsigned i, const struct state *state)
{
    struct sc_buf value = {0};
    struct sc_slice key = key_of(i);
    use(NULL, end);
    enum sc_status status =
        sc_bitcask_get(f[end].store, key, sc_slot_hash(key), &value, &f[end].position, f[end].why);
    CHECK(status == SC_OK || status == SC_NOTFOUND);
    bool same = is_there(state)
                    ? status == SC_OK && sc_slice_equal(sc_buf_slice(&value), value_of(state))
                    : status == SC_NOTFOUND;
    sc_buf_fini(&value);
    return same;
}

/* ---- What clients do ---- */

static void step_put(unsigned i, unsigned end)
{
    uint64_t version;
    const uint64_t ttl_ms = TTL_MS;
    struct sc_slice key = key_of(i);
    const struct sc_bitcask_write options = {.ttl_ms = any(2) == 0 ? &ttl_ms : NULL};
    begin();
    world->next[i] =
        (struct state){++world->number, false, options.ttl_ms != NULL ? world->generation : 0};
    struct sc_slice value = value_of(&world->next[i]);
    enum sc_status status = sc_bitcask_put(f[end].store, key, sc_slot_hash(key), value, &options,
                                           &version, &f[end].position, f[end].why);
    if (status != SC_OK) {
        refused(i, status);
        return;
    }
    acknowledge(end);
    told(i, version);
}

static void step_del(unsigned i, unsigned end)
{
    bool existed;
    struct sc_slice key = key_of(i);
    const struct sc_bitcask_write options = {0};
    begin();
    world->next[i] = (struct state){0};
    enum sc_status status = sc_bitcask_del(f[end].store, key, sc_slot_hash(key), &options, &existed,
                                           &f[end].position, f[end].why);
    if (status != SC_OK) {
        refused(i, status);
        return;
    }
    CHECK(existed == is_there(&world->now[i]));
    acknowledge(end);
}

static void step_incr(unsigned i, unsigned end)
{
    int64_t result;
    struct sc_slice key = key_of(i);
    const struct state *before = &world->now[i];
    bool there = is_there(before);
    begin();
    enum sc_status status = sc_bitcask_incr(f[end].store, key, sc_slot_hash(key), 3, &result,
                                            &f[end].position, f[end].why);
    if (status == SC_WRONGTYPE) {
        CHECK(there && !before->counter);
        world->busy = false;
        return;
    }
    if (status != SC_OK) {
        refused(i, status);
        return;
    }
    world->next[i] =
        (struct state){there ? before->number + 3 : 3, true, there ? before->generation : 0};
    CHECK(result == world->next[i].number);
    acknowledge(end);
}

static void step_touch(unsigned i, unsigned end)
{
    uint64_t version;
    const uint64_t ttl_ms = TTL_MS;
    struct sc_slice key = key_of(i);
    bool expires = any(2) == 0;
    begin();
    world->next[i].generation = expires ? world->generation : 0;
    enum sc_status status =
        sc_bitcask_touch(f[end].store, key, sc_slot_hash(key), expires ? &ttl_ms : NULL, &version,
                         &f[end].position, f[end].why);
    if (status == SC_NOTFOUND) {
        CHECK(!is_there(&world->now[i]));
        world->busy = false;
    } else if (status != SC_OK) {
        refused(i, status);
    } else {
        acknowledge(end);
        told(i, version);
    }
}

static void step_clear(unsigned end)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    uint64_t removed;
    owned_by(end, owned);
    begin();
    for (unsigned i = 0; i < KEYS; i++) {
        if (owner_of(i) == end) {
            world->next[i] = (struct state){0};
        }
    }
    enum sc_status status =
        sc_bitcask_clear(f[end].store, owned, &removed, &f[end].position, f[end].why);
    if (status == SC_BUSY) {
        world->busy = false;
        return;
    }
    CHECK(status == SC_OK);
    acknowledge(end);
}

static void step_key(uint64_t choice)
{
    unsigned i = (unsigned)any(KEYS);
    unsigned end = owner_of(i);
    use(NULL, end);
    if (choice < 45) {
        step_put(i, end);
    } else if (choice < 70) {
        step_del(i, end);
    } else if (choice < 85) {
        step_incr(i, end);
    } else {
        step_touch(i, end);
    }
}

static void step(void)
{
    uint64_t choice = any(100);
    unsigned end = (unsigned)any(2);
    if (choice < 90) {
        step_key(any(100));
    } else if (choice < 92) {
        use(NULL, end);
        step_clear(end);
    } else if (choice < 93) {
        /* In slots that are sealed time stands still. */
        bool sealed = sc_bitcask_is_sealed(f[0].store) || sc_bitcask_is_sealed(f[1].store);
        world->generation += sealed ? 0 : 1;
    } else if (choice < 97) {
        use(NULL, end);
        (void)sc_bitcask_sweep(f[end].store, SC_SLOT_COUNT);
    } else {
        unsigned i = (unsigned)any(KEYS);
        CHECK(holds(owner_of(i), i, &world->now[i]));
    }
}

/* Keys change in the middle of the steps of a move; but the world's time stands still there, since
 * a slot that is sealed does not see it. */
static void step_beside(void *arg)
{
    (void)arg;
    if (any(4) == 0) {
        step_key(any(100));
    }
}

static void step_merge(void)
{
    unsigned end = (unsigned)any(2);
    use(NULL, end);
    if (any(3) == 0) {
        sc_merge_ask(m[end].merge);
    }
    enum sc_status status = merge_once(&m[end]);
    CHECK(status == SC_OK || status == SC_NOTFOUND);
}

/* ---- What the coordinator does ---- */

static void grant(unsigned end)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    owned_by(end, owned);
    CHECK(move_grant(&d, end, world->term, world->epoch, owned) == SC_OK);
}

/* As in a row of events whose order the protocol fixes. */
static void cut_over(void)
{
    enum sc_status status = move_finish(&d);
    CHECK(status == SC_OK || status == SC_BUSY);
    if (status != SC_OK || any(4) == 0) {
        begun = false; /* given up: an export begun anew unseals */
        CHECK(move_begin(&d, world->move, world->owner, slots_that_move) == SC_OK);
        begun = true;
        return;
    }
    unsigned source = world->owner;
    /* The map log: one write makes it count. */
    world->owner = 1 - source;
    world->epoch++;
    world->batch = false;
    world->moved++;
    d.beside = NULL; /* those who write wait now */
    grant(source);
    if (any(3) == 0) {
        grant(source);
    }
    /* It serves what it was granted before that is in its manifest. */
    for (uint64_t i = any(2) * any(20); i > 0; i--) {
        step_key(any(100));
    }
    grant(1 - source);
    d.beside = step_beside;
}

static void abort_move(void)
{
    world->batch = false;
    d.move = world->move;
    d.from = world->owner;
    CHECK(move_abort(&d) == SC_OK);
}

/* The last frame comes again. */
static void repeat_write(void)
{
    if (d.page.frame.size > 0) {
        CHECK(sc_importer_write(d.ends[1 - d.from].importer, sc_buf_slice(&d.cursor),
                                sc_buf_slice(&d.mark), sc_buf_slice(&d.page.frame),
                                d.why) == SC_OK);
    }
}

static void step_move(void)
{
    uint64_t choice = any(100);
    if (!world->batch) {
        world->move++;
        world->batch = true;
        begun = false;
    }
    if (!begun) {
        CHECK(move_begin(&d, world->move, world->owner, slots_that_move) == SC_OK);
        d.page.frame.size = 0;
        begun = true;
    } else if (choice < 55) {
        CHECK(move_step(&d) == SC_OK);
    } else if (choice < 65) {
        repeat_write();
    } else if (choice < 85) {
        CHECK(move_to_end(&d) == SC_OK);
        cut_over();
    } else if (choice < 92) {
        begun = false;
    } else if (choice < 96) {
        abort_move();
    } else {
        (void)sc_exporter_seal(d.ends[d.from].exporter, &d.seal, d.why);
        begun = false;
    }
}

/* ---- The whole ---- */

static void open_end(unsigned end)
{
    use(NULL, end);
    f[end].options.file_size_max = UINT64_C(4096) << any(3);
    m[end].options.dead_percent = 1 + (uint32_t)any(60);
    merging_open(&m[end]);
    CHECK(world->power || f[end].event_count == 0);
    move_opened(&d, end);
    sc_importer_save_after(d.ends[end].importer, 1 + any(8192));
    sc_exporter_small_pages(d.ends[end].exporter, 1 + (unsigned)any(12), 1 + any(4096));
    begun = false;
}

static void close_end(unsigned end, bool kill)
{
    use(NULL, end);
    move_closing(&d, end);
    kill ? merging_kill(&m[end]) : merging_close(&m[end]);
    begun = false;
}

/* What a coordinator does with a shard that it meets: grants, and ends what is no move of its. */
static void introduce(unsigned end)
{
    grant(end);
    struct sc_bitcask_moves here = sc_bitcask_moves(f[end].store);
    if (here.importing && (!world->batch || here.import_move != world->move)) {
        CHECK(sc_importer_drop(d.ends[end].importer, here.import_move, d.why) == SC_OK);
    }
    if (here.exporting && (!world->batch || here.export_move != world->move)) {
        CHECK(sc_exporter_end(d.ends[end].exporter, here.export_move, d.why) == SC_OK);
    }
}

static void reopen(unsigned end, bool kill)
{
    close_end(end, kill);
    open_end(end);
    introduce(end);
}

/* A coordinator that has been started anew. */
static void introduce_both(void)
{
    void (*beside)(void *arg) = d.beside;
    d.beside = NULL;
    world->term++;
    unsigned first = (unsigned)any(2);
    if (world->batch) {
        introduce(first);
        introduce(1 - first);
    } else {
        introduce(1 - world->owner); /* who has lost the slots, first of all */
        introduce(world->owner);
    }
    if (world->batch && any(3) == 0) {
        abort_move();
    }
    d.beside = beside;
}

static void check_end(unsigned end, uint64_t expected)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    use(NULL, end);
    owned_by(end, owned);
    CHECK(sc_bitcask_count(f[end].store, owned, &f[end].position) == expected);
    sc_keydir_check(f[end].store->keydir);
    CHECK(world->batch || !sc_bitcask_merges_held(f[end].store));
}

/* All keys are as they should be, where they should be, and nowhere else. */
static void check_all(void)
{
    static const struct state nothing;
    uint64_t keys[2] = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned end = owner_of(i);
        if (world->busy && holds(end, i, &world->next[i])) {
            world->now[i] = world->next[i]; /* it came through before the end */
        }
        CHECK(holds(end, i, &world->now[i]));
        CHECK(world->batch || holds(1 - end, i, &nothing));
        keys[end] += is_there(&world->now[i]);
    }
    world->busy = false;
    check_end(0, keys[0]);
    check_end(1, keys[1]);
}

static void begin_run(uint64_t seed, bool power)
{
    static const uint8_t cluster[16] = "a cluster";
    *world = (struct world){.random = {seed}, .generation = 1, .epoch = 1, .power = power};
    world->skew_us[0] = (int64_t)any(SKEW_US);
    world->skew_us[1] = (int64_t)any(SKEW_US);
    for (unsigned end = 0; end < 2; end++) {
        dir_remove(f[end].dir);
        open_end(end);
        CHECK(sc_bitcask_adopt(f[end].store, cluster, 1 + end, f[end].why) == SC_OK);
    }
    d.enter = use;
    introduce_both();
    d.beside = step_beside;
}

static unsigned runs_or(unsigned usual)
{
    const char *given = getenv("SC_TEST_RUNS");
    return given != NULL ? (unsigned)strtoul(given, NULL, 0) : usual;
}

static void act(void)
{
    uint64_t choice = any(100);
    if (choice < 60) {
        step();
    } else if (choice < 90) {
        step_move();
    } else {
        step_merge();
    }
}

START_TEST(runs_against_a_model)
{
    unsigned runs = runs_or(20 / STRIDE);
    unsigned moved = 0;
    uint64_t seed = test_random_start("move model").state;
    for (run_number = 0; run_number < runs; run_number++) {
        begin_run(seed + run_number, false);
        for (int i = 0; i < 200; i++) {
            if (any(100) < 97) {
                act();
            } else {
                reopen((unsigned)any(2), any(2) == 0);
                check_all();
            }
        }
        check_all();
        moved += world->moved;
        close_end(0, false);
        close_end(1, true);
        open_end(0);
        open_end(1);
        introduce_both();
        check_all();
        close_end(0, false);
        close_end(1, false);
    }
    ck_assert_uint_gt(moved, runs);
}
END_TEST

/* ---- Crashes at every durable step ---- */

static const char *const failpoints[] = {
    "fence_made",           "fence_synced",           "grant_before_manifest",
    "grant_after_manifest", "import_before_manifest", "import_begun",
    "import_taken",         "import_before_cursor",   "import_cursor_saved",
    "import_before_ready",  "import_ready",           "import_before_drop",
    "import_dropped",       "export_before_manifest", "export_begun",
    "export_sealed",        "export_seal_synced",     "export_before_end",
    "export_ended",         "replace_written",        "replace_renamed",
    "merge_after_manifest", "merge_before_unlink",
};
#define FAILPOINTS (sizeof failpoints / sizeof *failpoints)

static uint64_t dice(uint64_t limit)
{
    return any(limit);
}

/* Works until the failpoint is passed, or for a while. */
static void child(const char *failpoint, unsigned count)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s:%u", failpoint, count);
    (void)setenv("SHARDCASK_FAILPOINT", text, 1);
    open_end(0);
    open_end(1);
    introduce_both();
    for (int i = 0; i < 250; i++) {
        act();
    }
    _exit(0);
}

/* Runs a child on the stores; returns whether it was killed. */
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

static void crash_at_every_step(bool power)
{
    unsigned runs = runs_or(FAILPOINTS);
    unsigned killed[FAILPOINTS] = {0};
    begin_run(test_random_start(power ? "move power" : "move crashes").state, power);
    close_end(0, false);
    close_end(1, false);
    for (run_number = 0; run_number < runs; run_number++) {
        size_t failpoint = run_number % FAILPOINTS;
        if (crash(failpoints[failpoint], 1 + (unsigned)any(run_number < 2 * FAILPOINTS ? 1 : 6))) {
            killed[failpoint]++;
        }
        for (unsigned end = 0; end < 2 && power; end++) {
            if (any(3) > 0) {
                lose_power(f[end].dir, dice);
            }
        }
        open_end(0);
        open_end(1);
        introduce_both();
        check_all();
        close_end(0, any(2) == 0);
        close_end(1, any(2) == 0);
    }
    for (size_t i = 0; i < FAILPOINTS && runs >= 4 * FAILPOINTS; i++) {
        ck_assert_msg(killed[i] > 0, "%s was never passed", failpoints[i]);
    }
}

START_TEST(crashes_at_every_step_lose_and_revive_nothing)
{
    crash_at_every_step(false);
}
END_TEST

START_TEST(power_failures_at_every_step_lose_and_revive_nothing)
{
    quiet();
    crash_at_every_step(true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("move_model");
    TCase *t = tcase_create("model");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, runs_against_a_model);
    tcase_add_test(t, crashes_at_every_step_lose_and_revive_nothing);
    tcase_add_test(t, power_failures_at_every_step_lose_and_revive_nothing);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
