#include "tools/cli_moves.h"

#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "tests/check_main.h"

static char *text;
static size_t text_size;
static struct sc_cli cli;
static struct sc_buf packed;

static void setup(void)
{
    cli = (struct sc_cli){
        .out = open_memstream(&text, &text_size), .err = stderr, .out_terminal = true};
}

static void teardown(void)
{
    fclose(cli.out);
    free(text);
    sc_buf_fini(&packed);
}

/* The msgpack of a JSON text, valid until the next. */
static struct sc_slice pack(const char *json)
{
    packed.size = 0;
    ck_assert_int_eq(sc_json_read(sc_slice_str(json), &packed, NULL), SC_OK);
    return sc_buf_slice(&packed);
}

static const char *printed(void)
{
    fflush(cli.out);
    return text;
}

START_TEST(sizes_and_times_are_for_people)
{
    char out[32];
    ck_assert_str_eq(sc_cli_moves_bytes(0, out), "0 bytes");
    ck_assert_str_eq(sc_cli_moves_bytes(1023, out), "1023 bytes");
    ck_assert_str_eq(sc_cli_moves_bytes(1536, out), "1.5 KiB");
    ck_assert_str_eq(sc_cli_moves_bytes((1 << 20) - 1, out), "1.0 MiB");
    ck_assert_str_eq(sc_cli_moves_bytes(UINT64_MAX, out), "16.0 EiB");
    ck_assert_str_eq(sc_cli_moves_time(0, out), "0 s");
    ck_assert_str_eq(sc_cli_moves_time(61, out), "1 min 1 s");
    ck_assert_str_eq(sc_cli_moves_time(7260, out), "2 h 1 min");
    ck_assert_uint_lt(strlen(sc_cli_moves_time(UINT64_MAX, out)), sizeof out);
}
END_TEST

static const char PLAN[] =
    "{\"slots\": 5, \"keys\": 1234, \"bytes\": 2048, \"bytes_per_second\": 1024, \"seconds\": 2, "
    "\"moves\": [{\"from\": 1, \"to\": 2, \"slots\": 5, \"keys\": 1234, \"bytes\": 2048}]}";

START_TEST(a_plan_is_a_table_and_a_sentence)
{
    ck_assert(sc_cli_moves_print_plan(&cli, pack(PLAN)));
    ck_assert_str_eq(printed(), "FROM  TO  SLOTS   KEYS    BYTES\n"
                                "   1   2      5  1,234  2.0 KiB\n\n"
                                "5 slots would move, with 1,234 keys in 2.0 KiB; "
                                "about 2 s at 1.0 KiB/s\n");
}
END_TEST

START_TEST(a_plan_without_a_rate_or_moves_says_so)
{
    ck_assert(
        sc_cli_moves_print_plan(&cli, pack("{\"slots\": 1, \"seconds\": null, \"moves\": []}")));
    ck_assert_ptr_nonnull(strstr(printed(), "how long it takes is not known"));
    ck_assert(sc_cli_moves_print_plan(&cli, pack("{\"slots\": 0, \"moves\": []}")));
    ck_assert_ptr_nonnull(strstr(printed(), "nothing would move"));
}
END_TEST

START_TEST(what_is_no_plan_or_state_is_refused)
{
    ck_assert(!sc_cli_moves_print_plan(&cli, pack("{\"slots\": 1}")));
    ck_assert(!sc_cli_moves_print_plan(&cli, pack("{\"slots\": 1, \"moves\": 7}")));
    ck_assert(!sc_cli_moves_print_plan(&cli, pack("[]")));
    ck_assert(!sc_cli_moves_print_state(&cli, pack("{\"state\": 5}")));
    ck_assert(!sc_cli_moves_idle(pack("[]")));
}
END_TEST

#define STATE(state, trouble)                                                                     \
    "{\"state\": \"" state "\", \"slots_left\": 256, \"bytes_left\": 1048576, \"rate\": 2048, "   \
    "\"bytes_per_second\": 4096, \"seconds_left\": 90, \"trouble\": \"" trouble "\", \"moves\": " \
    "[{\"from\": 1, \"to\": 3, \"slots\": 256, \"bytes_done\": 512, \"bytes\": 1048576, "         \
    "\"stage\": \"copying\", \"attempts\": 1, \"pause_us\": 1500, \"trouble\": "                  \
    "\"slow\\u001b[2J\"}]}"

START_TEST(the_state_is_a_line_and_a_table)
{
    ck_assert(sc_cli_moves_print_state(&cli, pack(STATE("moving", "no\\u0007disk"))));
    ck_assert_str_eq(printed(),
                     "moving: 256 slots and about 1.0 MiB left; 2.0 KiB/s; at most 4.0 KiB/s; "
                     "about 1 min 30 s more\n"
                     "trouble: no?disk\n"
                     "FROM  TO  SLOTS     COPIED       OF  ATTEMPTS   PAUSE  STAGE    TROUBLE\n"
                     "   1   3    256  512 bytes  1.0 MiB         1  1.5 ms  copying  slow?[2J\n");
}
END_TEST

START_TEST(a_view_is_drawn_over_the_one_before)
{
    struct sc_cli_moves_view view = {0};
    ck_assert(sc_cli_moves_draw(&cli, &view, pack(STATE("moving", ""))));
    ck_assert_uint_eq(view.lines, 3);
    ck_assert_ptr_null(strstr(printed(), "\033[J"));
    ck_assert(sc_cli_moves_draw(
        &cli, &view, pack("{\"state\": \"idle\", \"bytes_per_second\": 0, \"moves\": []}")));
    ck_assert_uint_eq(view.lines, 1);
    ck_assert_ptr_nonnull(
        strstr(printed(), "\033[3A\033[J\033[?7lidle: nothing is to be moved; no limit\n\033[?7h"));
}
END_TEST

START_TEST(a_pipe_gets_json)
{
    cli.out_terminal = false;
    ck_assert(sc_cli_moves_print_plan(&cli, pack("{\"slots\": 0, \"moves\": []}")));
    ck_assert(sc_cli_moves_print_state(&cli, pack("{\"state\": \"idle\"}")));
    ck_assert_str_eq(printed(), "{\"slots\":0,\"moves\":[]}\n{\"state\":\"idle\"}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_moves");
    TCase *tcase = tcase_create("cli_moves");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, sizes_and_times_are_for_people);
    tcase_add_test(tcase, a_plan_is_a_table_and_a_sentence);
    tcase_add_test(tcase, a_plan_without_a_rate_or_moves_says_so);
    tcase_add_test(tcase, what_is_no_plan_or_state_is_refused);
    tcase_add_test(tcase, the_state_is_a_line_and_a_table);
    tcase_add_test(tcase, a_view_is_drawn_over_the_one_before);
    tcase_add_test(tcase, a_pipe_gets_json);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
