/* The table of known damage. */
#include "shard/damages.h"
#include "tests/check_main.h"

static struct sc_damages damages;

static void setup(void)
{
    damages = (struct sc_damages){0};
}

static void teardown(void)
{
    sc_damages_fini(&damages);
}

static struct sc_damage value_at(uint64_t file, uint64_t offset, const char *key)
{
    return (struct sc_damage){.kind = SC_DAMAGE_VALUE,
                              .file = file,
                              .offset = offset,
                              .size = 48,
                              .key = sc_slice_str(key)};
}

static bool note(struct sc_damage damage)
{
    return sc_damages_note(&damages, &damage, 1);
}

START_TEST(each_damage_is_noted_once)
{
    ck_assert(note(value_at(1, 64, "a")));
    ck_assert(!note(value_at(1, 64, "a")));
    ck_assert(note(value_at(1, 112, "b")));
    ck_assert(note(value_at(2, 64, "a")));
    ck_assert_uint_eq(damages.count, 3);
    ck_assert_uint_eq(damages.found, 3);
}
END_TEST

START_TEST(what_is_learnt_later_is_taken_over)
{
    struct sc_damage damage = value_at(1, 64, "a");
    ck_assert(note(damage));
    damage.kind = SC_DAMAGE_RECORD; /* as the scrub finds it to be */
    damage.version = 7;
    ck_assert(!note(damage));
    ck_assert_int_eq(damages.entries[0].damage.kind, SC_DAMAGE_RECORD);
    ck_assert_uint_eq(damages.entries[0].damage.version, 7);
    damage.version = 0;
    ck_assert(!note(damage));
    ck_assert_uint_eq(damages.entries[0].damage.version, 7);
    ck_assert(sc_slice_equal(damages.entries[0].damage.key, sc_slice_str("a")));
}
END_TEST

START_TEST(stretch_and_record_at_one_place_are_two)
{
    struct sc_damage stretch = {.kind = SC_DAMAGE_STRETCH, .file = 1, .offset = 64, .size = 96};
    ck_assert(note(value_at(1, 64, "a")));
    ck_assert(note(stretch));
    ck_assert_uint_eq(damages.count, 2);
    ck_assert_ptr_eq(sc_damages_find(&damages, &stretch), &damages.entries[1]);
}
END_TEST

START_TEST(what_a_scrub_does_not_find_again_is_forgotten)
{
    ck_assert(note(value_at(1, 64, "a")));
    ck_assert(note(value_at(1, 112, "b")));
    ck_assert(note(value_at(2, 64, "c")));
    sc_damages_age(&damages, 1);
    ck_assert(!note(value_at(1, 112, "b")));
    ck_assert(note(value_at(1, 160, "d"))); /* by a reader meanwhile */
    sc_damages_forget_unseen(&damages, 1);
    ck_assert_uint_eq(damages.count, 3);
    struct sc_damage gone = value_at(1, 64, "a");
    ck_assert_ptr_null(sc_damages_find(&damages, &gone));
    sc_damages_forget_file(&damages, 1);
    ck_assert_uint_eq(damages.count, 1);
    ck_assert_uint_eq(damages.entries[0].damage.file, 2);
}
END_TEST

START_TEST(more_than_there_is_room_for_is_counted)
{
    for (uint64_t i = 0; i < SC_DAMAGES_MAX + 10; i++) {
        ck_assert(note(value_at(1, 64 + 48 * i, "a")) == (i < SC_DAMAGES_MAX));
    }
    ck_assert_uint_eq(damages.count, SC_DAMAGES_MAX);
    ck_assert_uint_eq(damages.overflow, 10);
    sc_damages_forget_file(&damages, 1);
    ck_assert_uint_eq(damages.count, 0);
    ck_assert(note(value_at(1, 64, "a")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("damages");
    TCase *tcase = tcase_create("damages");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_damage_is_noted_once);
    tcase_add_test(tcase, what_is_learnt_later_is_taken_over);
    tcase_add_test(tcase, stretch_and_record_at_one_place_are_two);
    tcase_add_test(tcase, what_a_scrub_does_not_find_again_is_forgotten);
    tcase_add_test(tcase, more_than_there_is_room_for_is_counted);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
