#include "common/config.h"

#include "tests/check_main.h"

static struct sc_buf map;
static char why[SC_WHY_SIZE];

static enum sc_status parse(struct sc_config *change)
{
    struct sc_mp mp = sc_mp(sc_buf_slice(&map));
    enum sc_status status = sc_config_parse(&mp, change, why);
    map.size = 0;
    return status;
}

static void pair(const char *name, uint64_t value)
{
    sc_mp_put_cstr(&map, name);
    sc_mp_put_uint(&map, value);
}

START_TEST(a_change_touches_only_what_it_gives)
{
    struct sc_config config = sc_config_defaults();
    struct sc_config change;
    uint64_t percent = config.values[SC_CONFIG_merge_dead_percent];
    sc_mp_put_map(&map, 1);
    pair("merge_dead_bytes", 12345);
    ck_assert_int_eq(parse(&change), SC_OK);
    sc_config_apply(&config, &change);
    ck_assert_uint_eq(config.values[SC_CONFIG_merge_dead_bytes], 12345);
    ck_assert_uint_eq(config.values[SC_CONFIG_merge_dead_percent], percent);
    ck_assert_uint_eq(config.given, 1u << SC_CONFIG_merge_dead_bytes);
}
END_TEST

START_TEST(a_switch_may_be_a_bool)
{
    struct sc_config change;
    sc_mp_put_map(&map, 1);
    sc_mp_put_cstr(&map, "merge_paused");
    sc_mp_put_bool(&map, true);
    ck_assert_int_eq(parse(&change), SC_OK);
    ck_assert_uint_eq(change.values[SC_CONFIG_merge_paused], 1);
}
END_TEST

START_TEST(unknown_repeated_and_senseless_settings_are_refused)
{
    struct sc_config change;
    sc_mp_put_map(&map, 1);
    pair("merge_speed", 1);
    ck_assert_int_eq(parse(&change), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "merge_speed"));
    sc_mp_put_map(&map, 2);
    pair("merges_at_once", 1);
    pair("merges_at_once", 2);
    ck_assert_int_eq(parse(&change), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "twice"));
    sc_mp_put_map(&map, 1);
    pair("merge_dead_percent", 101);
    ck_assert_int_eq(parse(&change), SC_BADREQUEST);
    ck_assert_ptr_nonnull(strstr(why, "from 1 to 100"));
    sc_mp_put_nil(&map);
    ck_assert_int_eq(parse(&change), SC_BADREQUEST);
}
END_TEST

START_TEST(what_is_written_reads_the_same)
{
    struct sc_config config = sc_config_defaults();
    struct sc_config change;
    for (int i = 0; i < SC_CONFIG_NAMES; i++) {
        ck_assert_ptr_nonnull(sc_config_meaning((enum sc_config_name)i));
    }
    config.values[SC_CONFIG_merge_bytes_per_second] = 1u << 30;
    sc_config_put(&config, true, &map);
    ck_assert_int_eq(parse(&change), SC_OK);
    ck_assert_mem_eq(change.values, config.values, sizeof config.values);
    ck_assert_uint_eq(change.given, (1u << SC_CONFIG_NAMES) - 1);
    config.given = 1u << SC_CONFIG_merge_bytes_per_second;
    sc_config_put(&config, false, &map);
    ck_assert_int_eq(parse(&change), SC_OK);
    ck_assert_uint_eq(change.given, config.given);
    ck_assert_uint_eq(change.values[SC_CONFIG_merge_bytes_per_second], 1u << 30);
}
END_TEST

static void clean(void)
{
    sc_buf_fini(&map);
}

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, NULL, clean);
    tcase_add_test(tcase, a_change_touches_only_what_it_gives);
    tcase_add_test(tcase, a_switch_may_be_a_bool);
    tcase_add_test(tcase, unknown_repeated_and_senseless_settings_are_refused);
    tcase_add_test(tcase, what_is_written_reads_the_same);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
