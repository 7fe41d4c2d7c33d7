/* What a move costs the source in memory while it lasts, by the keydir's own account. */
#include "tests/shard/move_driver.h"

#include "shard/bitcask_impl.h"
#include "tests/check_main.h"

#include <inttypes.h>

#define KEYS (200000u / STRIDE)
#define BATCH_KEYS 1000000u /* the most that a batch has */
#define GROWTH_MAX (UINT64_C(32) << 20)
#define FIXED_MAX (UINT64_C(2) << 20) /* whatever the number of keys */

static struct fixture a, b;
static struct move_driver d;
static uint64_t peak;
static unsigned calls;

#define OK(call)                                                                              \
    do {                                                                                      \
        enum sc_status ok_status = (call);                                                    \
        ck_assert_msg(ok_status == SC_OK, "%s: %d %s; %s %s", #call, ok_status, d.why, a.why, \
                      b.why);                                                                 \
    } while (0)

static void write_key(unsigned i)
{
    char key[32];
    uint64_t version;
    const struct sc_bitcask_write options = {0};
    struct sc_slice k = sc_slice(key, (size_t)snprintf(key, sizeof key, "memory-%u", i));
    enum sc_status status = sc_bitcask_put(a.store, k, sc_slot_hash(k), sc_slice_str("\x01"),
                                           &options, &version, &a.position, a.why);
    if (status != SC_OK) {
        ck_abort_msg("%d %s", status, a.why);
    }
}

/* Clients go on writing to the keys that there are. */
static void beside(void *arg)
{
    (void)arg;
    if (calls % 64 == 0 && !sc_bitcask_is_sealed(a.store)) {
        write_key(calls * 31 % KEYS);
    }
    calls++;
    uint64_t memory = sc_keydir_memory(a.store->keydir);
    peak = memory > peak ? memory : peak;
}

static void setup(void)
{
    static const uint8_t cluster[16] = "a cluster";
    static const uint8_t none[SC_SLOT_COUNT / 8];
    uint8_t all[SC_SLOT_COUNT / 8];
    memset(all, 0xff, sizeof all);
    fixture_init(&a);
    fixture_init(&b);
    move_init(&d, &a, &b);
    for (unsigned end = 0; end < 2; end++) {
        fixture_open(d.ends[end].f);
        move_opened(&d, end);
        OK(sc_bitcask_adopt(d.ends[end].f->store, cluster, 1 + end, d.why));
        OK(move_grant(&d, end, 1, 1, end == 0 ? all : none));
    }
    for (unsigned i = 0; i < KEYS; i++) {
        write_key(i);
        if (i % 4096 == 0) {
            commit(&a);
        }
    }
    commit(&a);
}

static void teardown(void)
{
    move_fini(&d);
    fixture_fini(&a);
    fixture_fini(&b);
}

/* What the keydir has grown by must leave room for a batch of the largest size. */
static void move_slots(uint32_t count, const char *what)
{
    uint8_t slots[SC_SLOT_COUNT / 8] = {0};
    memset(slots, 0xff, count / 8);
    uint64_t before = sc_keydir_memory(a.store->keydir);
    peak = before;
    d.beside = beside;
    OK(move_begin(&d, 1, 0, slots));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    d.beside = NULL;
    uint64_t keys = d.seal.count;
    ck_assert_uint_gt(keys, (uint64_t)KEYS * count / SC_SLOT_COUNT * 8 / 10);
    printf("%s: %" PRIu64 " keys, %" PRIu64 " KiB before, %" PRIu64 " KiB more, %.1f a key\n", what,
           keys, before >> 10, (peak - before) >> 10, (double)(peak - before) / (double)keys);
    ck_assert_uint_le(peak - before, FIXED_MAX + (GROWTH_MAX - FIXED_MAX) * keys / BATCH_KEYS);
    OK(move_abort(&d));
    ck_assert_uint_le(sc_keydir_memory(a.store->keydir), before + FIXED_MAX);
    sc_keydir_check(a.store->keydir);
}

START_TEST(the_source_grows_by_32_MiB_at_most)
{
    move_slots(SC_SLOT_COUNT, "all slots");
    move_slots(256, "256 slots");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("move_memory");
    TCase *t = tcase_create("memory");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_source_grows_by_32_MiB_at_most);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
