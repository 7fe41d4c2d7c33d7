#include "tools/cli_args.h"

#include "tests/check_main.h"

static const struct sc_cli_option options[] = {
    {"ttl", "SECONDS", "a value"},
    {"values", NULL, "a flag"},
    {NULL, NULL, NULL},
};
static const struct sc_cli_option common[] = {{"url", "URL", "of all"}, {NULL, NULL, NULL}};

static char why[SC_WHY_SIZE];

static bool parse(struct sc_cli_args *args, size_t count, const char *const *argv)
{
    return sc_cli_args_init(args, count, argv, options, common, why);
}
#define PARSE(args, ...)                                                \
    parse(args, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
          (const char *[]){__VA_ARGS__})

START_TEST(options_stand_anywhere)
{
    struct sc_cli_args args;
    ck_assert(PARSE(&args, "--values", "key", "--ttl", "5", "value", "--url=ipc:///x"));
    ck_assert_uint_eq(args.count, 2);
    ck_assert_str_eq(args.words[0], "key");
    ck_assert_str_eq(args.words[1], "value");
    ck_assert(sc_cli_args_flag(&args, "values"));
    ck_assert_str_eq(sc_cli_args_option(&args, "ttl"), "5");
    ck_assert_str_eq(sc_cli_args_option(&args, "url"), "ipc:///x");
    sc_cli_args_fini(&args);
}
END_TEST

START_TEST(the_last_of_two_counts)
{
    struct sc_cli_args args;
    ck_assert(PARSE(&args, "--ttl", "5", "--ttl=6"));
    ck_assert_str_eq(sc_cli_args_option(&args, "ttl"), "6");
    ck_assert_ptr_null(sc_cli_args_option(&args, "values"));
    sc_cli_args_fini(&args);
}
END_TEST

START_TEST(single_dashes_and_what_follows_two_are_arguments)
{
    struct sc_cli_args args;
    ck_assert(PARSE(&args, "-5", "-", "--", "--ttl", "--"));
    ck_assert_uint_eq(args.count, 4);
    ck_assert_str_eq(args.words[0], "-5");
    ck_assert_str_eq(args.words[1], "-");
    ck_assert_str_eq(args.words[2], "--ttl");
    ck_assert_str_eq(args.words[3], "--");
    sc_cli_args_fini(&args);
}
END_TEST

START_TEST(an_option_may_have_an_empty_value)
{
    struct sc_cli_args args;
    ck_assert(PARSE(&args, "--ttl="));
    ck_assert_str_eq(sc_cli_args_option(&args, "ttl"), "");
    sc_cli_args_fini(&args);
}
END_TEST

START_TEST(wrong_options_are_refused_with_their_name)
{
    struct sc_cli_args args;
    ck_assert(!PARSE(&args, "--nonsense"));
    ck_assert_ptr_nonnull(strstr(why, "--nonsense"));
    ck_assert(!PARSE(&args, "--tt", "5"));
    ck_assert(!PARSE(&args, "--ttll=5"));
    ck_assert(!PARSE(&args, "--ttl"));
    ck_assert_ptr_nonnull(strstr(why, "needs a value"));
    ck_assert(!PARSE(&args, "--values=1"));
    ck_assert_ptr_nonnull(strstr(why, "takes no value"));
}
END_TEST

START_TEST(too_many_options_are_refused)
{
    struct sc_cli_args args;
    const char *argv[SC_CLI_OPTIONS_MAX + 1];
    for (size_t i = 0; i <= SC_CLI_OPTIONS_MAX; i++) {
        argv[i] = "--values";
    }
    ck_assert(parse(&args, SC_CLI_OPTIONS_MAX, argv));
    sc_cli_args_fini(&args);
    ck_assert(!parse(&args, SC_CLI_OPTIONS_MAX + 1, argv));
}
END_TEST

START_TEST(numbers_are_whole_and_in_range)
{
    uint64_t number = 7;
    int64_t integer = 7;
    ck_assert(sc_cli_args_uint("0", 0, UINT64_MAX, &number) && number == 0);
    ck_assert(sc_cli_args_uint("18446744073709551615", 0, UINT64_MAX, &number));
    ck_assert_uint_eq(number, UINT64_MAX);
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1.0", "x", "0x10", "18446744073709551616"};
    number = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!sc_cli_args_uint(bad[i], 0, UINT64_MAX, &number), "%s", bad[i]);
    }
    ck_assert(!sc_cli_args_uint("4", 5, 6, &number));
    ck_assert(!sc_cli_args_uint("7", 5, 6, &number));
    ck_assert_uint_eq(number, 7);
    ck_assert(sc_cli_args_int("-9223372036854775808", &integer) && integer == INT64_MIN);
    ck_assert(sc_cli_args_int("+5", &integer) && integer == 5);
    ck_assert(!sc_cli_args_int("9223372036854775808", &integer));
    ck_assert(!sc_cli_args_int("-", &integer));
    ck_assert(!sc_cli_args_int("--5", &integer));
    ck_assert(!sc_cli_args_int("1e3", &integer));
    ck_assert_int_eq(integer, 5);
}
END_TEST

START_TEST(seconds_become_milliseconds)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1", 1000},
                {"0.001", 1},
                {"0.25", 250},
                {"90.", 90000},
                {"1.5", 1500},
                {"0.999", 999},
                {"3155760000", 3155760000000}};
    static const char *const bad[] = {"",
                                      "0",
                                      "0.0",
                                      "-1",
                                      ".5",
                                      "1.2345",
                                      "1e3",
                                      "x",
                                      "3155760001",
                                      "3155760000.001",
                                      "99999999999999999999999",
                                      "1 "};
    uint64_t ms = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(sc_cli_args_seconds(good[i].text, 3155760000000, &ms), "%s", good[i].text);
        ck_assert_uint_eq(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!sc_cli_args_seconds(bad[i], 3155760000000, &ms), "%s", bad[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_args");
    TCase *tcase = tcase_create("cli_args");
    tcase_add_test(tcase, options_stand_anywhere);
    tcase_add_test(tcase, the_last_of_two_counts);
    tcase_add_test(tcase, single_dashes_and_what_follows_two_are_arguments);
    tcase_add_test(tcase, an_option_may_have_an_empty_value);
    tcase_add_test(tcase, wrong_options_are_refused_with_their_name);
    tcase_add_test(tcase, too_many_options_are_refused);
    tcase_add_test(tcase, numbers_are_whole_and_in_range);
    tcase_add_test(tcase, seconds_become_milliseconds);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
