#include "coordinator/slotset.h"
#include "tests/check_main.h"
#include "tests/random.h"

static struct test_random dice;

/* Few or many slots, in long ranges or short ones. */
static struct sc_slotset random_set(bool in[SC_SLOT_COUNT])
{
    struct sc_slotset set = {{0}};
    uint64_t length = 1 + test_random_below(&dice, 300);
    uint64_t share = test_random_below(&dice, 11);
    bool now = false;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (test_random_below(&dice, length) == 0) {
            now = test_random_below(&dice, 10) < share;
        }
        in[slot] = now;
        if (now) {
            sc_slotset_add(&set, slot);
        }
    }
    return set;
}

START_TEST(a_set_has_what_was_added)
{
    static bool in[SC_SLOT_COUNT];
    dice = test_random_start("slotset");
    for (int run = 0; run < 50; run++) {
        struct sc_slotset set = random_set(in);
        uint32_t count = 0;
        uint32_t next = 0;
        for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
            must(sc_slotset_has(&set, slot) == in[slot]);
            count += in[slot] ? 1 : 0;
        }
        must(sc_slotset_count(&set) == count);
        SC_SLOTSET_EACH (slot, &set) {
            while (!in[next]) {
                next++;
            }
            must(slot == next++);
            uint32_t last = sc_slotset_range_end(&set, slot);
            must(in[last] && (last + 1 == SC_SLOT_COUNT || !in[last + 1]));
            count--;
        }
        must(count == 0);
    }
}
END_TEST

START_TEST(writing_and_reading_keeps_the_set)
{
    static bool in[SC_SLOT_COUNT];
    struct sc_buf out = {0};
    dice = test_random_start("slotset");
    for (int run = 0; run < 50; run++) {
        struct sc_slotset set = random_set(in);
        struct sc_slotset copy = {{0}};
        out.size = 0;
        sc_slotset_put(&set, &out);
        struct sc_mp mp = sc_mp(sc_buf_slice(&out));
        must(sc_slotset_read(&copy, &mp) && sc_mp_done(&mp));
        must(memcmp(&set, &copy, sizeof set) == 0);
    }
    sc_buf_fini(&out);
}
END_TEST

START_TEST(ranges_that_make_no_sense_are_refused)
{
    static const uint32_t wrong[][4] = {
        {5, 4, 10, 11}, {5, 7, 7, 9}, {5, 7, 3, 4}, {0, 1, 9, SC_SLOT_COUNT}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sc_buf out = {0};
        struct sc_slotset set = {{0}};
        sc_mp_put_array(&out, 2);
        for (size_t n = 0; n < 4; n++) {
            if (n % 2 == 0) {
                sc_mp_put_array(&out, 2);
            }
            sc_mp_put_uint(&out, wrong[i][n]);
        }
        struct sc_mp mp = sc_mp(sc_buf_slice(&out));
        ck_assert(!sc_slotset_read(&set, &mp));
        sc_buf_fini(&out);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slotset");
    TCase *tcase = tcase_create("slotset");
    tcase_add_test(tcase, a_set_has_what_was_added);
    tcase_add_test(tcase, writing_and_reading_keeps_the_set);
    tcase_add_test(tcase, ranges_that_make_no_sense_are_refused);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
