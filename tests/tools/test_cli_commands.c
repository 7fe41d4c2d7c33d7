#include "tools/cli_commands.h"

#include <stdlib.h>
#include <string.h>

#include "tests/check_main.h"

static char *out_text;
static char *err_text;
static size_t out_size;
static size_t err_size;
static struct sc_cli cli;

static void setup(void)
{
    cli = (struct sc_cli){.out = open_memstream(&out_text, &out_size),
                          .err = open_memstream(&err_text, &err_size),
                          .url = "ipc:///nonexistent/store.sock",
                          .timeout_ms = 50};
}

static void teardown(void)
{
    fclose(cli.out);
    fclose(cli.err);
    free(out_text);
    free(err_text);
}

static int run(size_t count, const char *const *argv)
{
    int code = sc_cli_commands_run(&cli, count, argv);
    fflush(cli.out);
    fflush(cli.err);
    return code;
}
#define RUN(...) \
    run(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

/* One sentence, on one line, about `part`. */
static void check_sentence(const char *part)
{
    ck_assert_msg(strstr(err_text, part) != NULL, "%s", err_text);
    ck_assert_ptr_eq(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
    ck_assert_str_eq(out_text, "");
}

START_TEST(an_unknown_command_is_usage)
{
    ck_assert_int_eq(RUN("nonsense"), SC_CLI_USAGE);
    check_sentence("no command nonsense");
}
END_TEST

START_TEST(no_command_is_usage)
{
    ck_assert_int_eq(RUN("--raw"), SC_CLI_USAGE);
    check_sentence("a command is missing after --raw");
}
END_TEST

START_TEST(wrong_numbers_of_arguments_are_usage)
{
    ck_assert_int_eq(RUN("get"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("get", "a", "b"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "b", "c"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("count", "a"), SC_CLI_USAGE);
    ck_assert_ptr_nonnull(strstr(err_text, "usage: count; "));
    ck_assert_int_eq(RUN("shard", "add"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("mget"), SC_CLI_USAGE);
    ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(wrong_values_are_usage)
{
    ck_assert_int_eq(RUN("put", "a", "b", "--ttl", "0"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "b", "--ttl", "soon"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "b", "--if-version", "-1"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "b", "--sync", "--no-sync"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "", "b"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "{\"$bin\":5}"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("put", "a", "--file", "/nonexistent"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("incr", "a", "1.5"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("touch", "a"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("touch", "a", "5", "--none"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("scan", "--limit", "0"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("scan", "--raw", "--values"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("mget", "a", "--raw"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("del", "a", "b", "--if-version", "5"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("shard", "remove", "x"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("shard", "what", "x"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("rebalance", "--pause", "--resume"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("rebalance", "--rate", "fast"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("import", "/nonexistent"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("import", "/dev/null", "--format", "nonsense"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("count", "--timeout", "0"), SC_CLI_USAGE);
    ck_assert_int_eq(RUN("count", "--url", "nonsense"), SC_CLI_USAGE);
    ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(clear_without_a_yes_and_a_terminal_is_usage)
{
    ck_assert_int_eq(RUN("clear"), SC_CLI_USAGE);
    check_sentence("--yes");
}
END_TEST

START_TEST(a_store_that_is_not_there_is_told)
{
    ck_assert_int_eq(RUN("get", "a"), SC_CLI_UNREACHABLE);
    check_sentence("ipc:///nonexistent/store.sock");
    ck_assert_ptr_null(cli.db);
}
END_TEST

START_TEST(options_stand_before_the_command_too)
{
    cli.url = "ipc:///nonexistent/one";
    ck_assert_int_eq(RUN("--url", "ipc:///nonexistent/other", "--timeout=0.02", "count"),
                     SC_CLI_UNREACHABLE);
    check_sentence("ipc:///nonexistent/other");
    ck_assert_str_eq(cli.url, "ipc:///nonexistent/one");
}
END_TEST

START_TEST(every_command_explains_itself)
{
    for (const struct sc_cli_command *command = sc_cli_commands(); command->name != NULL;
         command++) {
        ck_assert_int_eq(RUN(command->name, "--help"), SC_CLI_DONE);
        ck_assert_int_eq(RUN("help", command->name), SC_CLI_DONE);
        ck_assert_ptr_nonnull(strstr(out_text, command->summary));
    }
    ck_assert_int_eq(RUN("help"), SC_CLI_DONE);
    ck_assert_int_eq(RUN("help", "nonsense"), SC_CLI_USAGE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_commands");
    TCase *tcase = tcase_create("cli_commands");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_unknown_command_is_usage);
    tcase_add_test(tcase, no_command_is_usage);
    tcase_add_test(tcase, wrong_numbers_of_arguments_are_usage);
    tcase_add_test(tcase, wrong_values_are_usage);
    tcase_add_test(tcase, clear_without_a_yes_and_a_terminal_is_usage);
    tcase_add_test(tcase, a_store_that_is_not_there_is_told);
    tcase_add_test(tcase, options_stand_before_the_command_too);
    tcase_add_test(tcase, every_command_explains_itself);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
