#include "tests/shard/move_pair.h"

#include "common/clock.h"
#include "shard/bitcask_impl.h"
#include "shard/io.h"

struct fixture a, b;
struct move_driver d;
uint8_t all[SC_SLOT_COUNT / 8];
uint8_t none[SC_SLOT_COUNT / 8];
uint8_t odd[SC_SLOT_COUNT / 8];
uint8_t even[SC_SLOT_COUNT / 8];
static const uint8_t cluster[16] = "a cluster";

void open_end(unsigned end)
{
    fixture_open(d.ends[end].f);
    move_opened(&d, end);
}

void close_end(unsigned end)
{
    move_closing(&d, end);
    fixture_close(d.ends[end].f);
}

void kill_end(unsigned end)
{
    move_closing(&d, end);
    fixture_kill(d.ends[end].f);
}

void setup(void)
{
    memset(all, 0xff, sizeof all);
    memset(odd, 0xaa, sizeof odd);
    memset(even, 0x55, sizeof even);
    fixture_init(&a);
    fixture_init(&b);
    move_init(&d, &a, &b);
    open_end(0);
    open_end(1);
    OK(sc_bitcask_adopt(a.store, cluster, 1, a.why));
    OK(sc_bitcask_adopt(b.store, cluster, 2, b.why));
    OK(move_grant(&d, 0, 1, 1, all));
    OK(move_grant(&d, 1, 1, 1, none));
}

void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_clock_shift(0);
    move_fini(&d);
    fixture_fini(&a);
    fixture_fini(&b);
}

/* ---- Keys ---- */

const char *key_of(unsigned i)
{
    static char key[32];
    (void)snprintf(key, sizeof key, "key-%u", i);
    return key;
}

bool is_odd(const char *key)
{
    return sc_slot_of_key(sc_slice_str(key)) % 2 == 1;
}

const char *value_of(unsigned i, const char *generation)
{
    static char value[400];
    int size = snprintf(value, sizeof value, "%s of %u ", generation, i);
    memset(value + size, 'v', i % 200);
    value[size + (int)(i % 200)] = '\0';
    return value;
}

void put_all(struct fixture *f, const char *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        (void)put(f, key_of(i), value_of(i, generation));
    }
}

void expect_keys(struct fixture *f, const uint8_t *slots, const char *generation)
{
    for (unsigned i = 0; i < KEYS; i++) {
        bool here = sc_bitcask_bit(slots, sc_slot_of_key(sc_slice_str(key_of(i))));
        expect(f, key_of(i), here ? value_of(i, generation) : NULL);
    }
    sc_keydir_check(f->store->keydir);
}

void move_odd(unsigned from, uint64_t move, uint64_t epoch)
{
    OK(move_begin(&d, move, from, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, from, 1, epoch, from == 0 ? even : none));
    OK(move_grant(&d, 1 - from, 1, epoch, from == 0 ? odd : all));
}
