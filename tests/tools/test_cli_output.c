#include "tools/cli_output.h"

#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "tests/check_main.h"
#include "tools/cli_figures.h"
#include "tools/cli_map.h"

static char *text;
static size_t text_size;
static struct sc_cli cli;
static struct sc_buf packed;

static void setup(void)
{
    cli = (struct sc_cli){.out = open_memstream(&text, &text_size), .err = stderr};
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

START_TEST(values_are_lines_of_json)
{
    ck_assert(sc_cli_output_json(&cli, pack("{\"a\": [1, \"x\"]}")));
    ck_assert_str_eq(printed(), "{\"a\":[1,\"x\"]}\n");
    ck_assert(!sc_cli_output_json(&cli, sc_slice("\xc1", 1)));
}
END_TEST

START_TEST(raw_writes_the_bytes_of_text_and_bytes)
{
    ck_assert(sc_cli_output_raw(&cli, pack("\"text\""), false));
    ck_assert(sc_cli_output_raw(&cli, pack("{\"$bin\": \"eHk=\"}"), true));
    ck_assert(sc_cli_output_raw(&cli, pack("[1]"), false));
    ck_assert_str_eq(printed(), "textxy\n[1]\n");
}
END_TEST

START_TEST(columns_are_as_wide_as_their_widest_cell)
{
    struct sc_cli_table table;
    sc_cli_table_init(&table, 3);
    sc_cli_table_add(&table, SC_CLI_BOLD, "NAME");
    sc_cli_table_add(&table, SC_CLI_BOLD, "N");
    sc_cli_table_add(&table, SC_CLI_BOLD, "LAST");
    sc_cli_table_add(&table, SC_CLI_PLAIN, "\xc3\xa4");
    sc_cli_table_add_number(&table, 1234);
    sc_cli_table_add_state(&table, sc_slice_str("up"));
    sc_cli_table_print(&cli, &table);
    ck_assert_str_eq(printed(), "NAME  N      LAST\n\xc3\xa4     1,234  up\n");
}
END_TEST

START_TEST(colour_is_only_for_those_who_see_it)
{
    struct sc_cli_table table;
    cli.colour = true;
    sc_cli_table_init(&table, 1);
    sc_cli_table_add_state(&table, sc_slice_str("up"));
    sc_cli_table_add_state(&table, sc_slice_str("down"));
    sc_cli_table_add_state(&table, sc_slice_str("joining"));
    sc_cli_table_print(&cli, &table);
    ck_assert_str_eq(printed(), "\033[32mup\033[0m\n\033[31mdown\033[0m\n\033[33mjoining\033[0m\n");
}
END_TEST

START_TEST(control_characters_do_not_reach_the_terminal)
{
    struct sc_cli_table table;
    sc_cli_table_init(&table, 1);
    sc_cli_table_add(&table, SC_CLI_PLAIN, "a\033[2Jb\nc");
    sc_cli_table_print(&cli, &table);
    ck_assert_str_eq(printed(), "a?[2Jb?c\n");
}
END_TEST

START_TEST(figures_are_one_a_line)
{
    ck_assert(sc_cli_figures_print(&cli, pack("{\"keys\": 12345, \"op\": {\"get\": {\"n\": 5}},"
                                              "\"name\": \"x\", \"list\": [1, 2]}")));
    ck_assert_str_eq(printed(),
                     "keys      12,345\nop.get.n       5\nname           x\nlist       [1,2]\n");
}
END_TEST

START_TEST(lists_of_maps_are_columns)
{
    ck_assert(sc_cli_figures_print(&cli, pack("{\"keys\": 3, \"shards\": [{\"id\": 1, \"keys\": 3},"
                                              "{\"id\": 2, \"why\": \"down\"}]}")));
    ck_assert_str_eq(printed(), "keys  3\n\nshards\nid    1     2\nkeys  3  \nwhy      down\n");
}
END_TEST

START_TEST(long_texts_in_columns_show_their_end)
{
    ck_assert(sc_cli_figures_print(
        &cli, pack("{\"shards\": [{\"url\": \"ipc:///a/long/way/shard-1/shard.sock\"},"
                   "{\"url\": \"ipc:///short\"}]}")));
    ck_assert_str_eq(printed(), "\nshards\nurl  ..ard-1/shard.sock  ipc:///short\n");
}
END_TEST

START_TEST(members_are_found_by_name)
{
    struct sc_slice value;
    struct sc_slice map = pack("{\"a\": 1, \"b\": 2}");
    ck_assert(sc_cli_figures_find(map, "b", &value));
    ck_assert(sc_slice_equal(value, sc_slice("\x02", 1)));
    ck_assert(!sc_cli_figures_find(map, "c", &value));
    ck_assert(!sc_cli_figures_find(pack("[1]"), "c", &value));
    ck_assert(!sc_cli_figures_find(sc_slice("\x81", 1), "c", &value));
    ck_assert(!sc_cli_figures_find(sc_slice(NULL, 0), "c", &value));
}
END_TEST

static const char MAP[] =
    "{\"epoch\": 7, \"slots\": 16384, \"shards\": [{\"id\": 1, \"url\": \"ipc:///a\", \"state\": "
    "\"up\", \"weight\": 250}, {\"id\": 3, \"url\": \"ipc:///b\", \"state\": \"down\", \"reason\": "
    "\"empty\"}], "
    "\"ranges\": [[0, 8191, 1], [8192, 16383, 3]]}";

START_TEST(shards_are_an_array_on_a_pipe)
{
    struct sc_cli_map map;
    struct sc_buf stats = {0};
    ck_assert(sc_cli_map_read(&map, pack(MAP)));
    sc_json_read(sc_slice_str("{\"shards\": [{\"id\": 1, \"keys\": 5}, {\"id\": 9}]}"), &stats,
                 NULL);
    sc_cli_map_add_stats(&map, sc_buf_slice(&stats));
    sc_cli_map_print_shards(&cli, &map);
    ck_assert_str_eq(printed(),
                     "[{\"id\":1,\"url\":\"ipc:///a\",\"state\":\"up\",\"weight\":250,"
                     "\"slots\":8192,\"keys\":5},{\"id\":3,\"url\":\"ipc:///b\",\"state\":\"down\","
                     "\"reason\":\"empty\",\"slots\":8192}]\n");
    sc_cli_map_fini(&map);
    sc_buf_fini(&stats);
}
END_TEST

START_TEST(shards_are_a_table_on_a_terminal)
{
    struct sc_cli_map map;
    cli.out_terminal = true;
    ck_assert(sc_cli_map_read(&map, pack(MAP)));
    sc_cli_map_print_shards(&cli, &map);
    sc_cli_map_print(&cli, &map);
    sc_cli_map_fini(&map);
    ck_assert_str_eq(printed(), "SHARD  STATE  WEIGHT  SLOTS  SHARE   KEYS  URL\n"
                                "    1  up        250  8,192  50.00%  ?     ipc:///a\n"
                                "    3  down      100  8,192  50.00%  ?     ipc:///b\n"
                                "epoch 7, 16384 slots\n\n"
                                "SHARD  STATE  SLOTS  SHARE   RANGES  URL\n"
                                "    1  up     8,192  50.00%       1  ipc:///a\n"
                                "    3  down   8,192  50.00%       1  ipc:///b\n\n"
                                "FIRST  LAST    SHARD\n"
                                "    0   8,191      1\n"
                                "8,192  16,383      3\n");
}
END_TEST

START_TEST(a_senseless_map_is_refused)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "5",
        "{\"epoch\": 1, \"slots\": 5, \"shards\": 5, \"ranges\": []}",
        "{\"epoch\": 1, \"slots\": 5, \"shards\": [{\"id\": 1}], \"ranges\": []}",
        "{\"epoch\": 1, \"slots\": 5, \"shards\": [], \"ranges\": [[1, 2]]}",
        "{\"epoch\": 1, \"slots\": 5, \"shards\": [], \"ranges\": [[5, 2, 1]]}",
        "{\"epoch\": -1, \"slots\": 5, \"shards\": [], \"ranges\": []}"};
    struct sc_cli_map map;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!sc_cli_map_read(&map, pack(bad[i])), "%s", bad[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_output");
    TCase *tcase = tcase_create("cli_output");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, values_are_lines_of_json);
    tcase_add_test(tcase, raw_writes_the_bytes_of_text_and_bytes);
    tcase_add_test(tcase, columns_are_as_wide_as_their_widest_cell);
    tcase_add_test(tcase, colour_is_only_for_those_who_see_it);
    tcase_add_test(tcase, control_characters_do_not_reach_the_terminal);
    tcase_add_test(tcase, figures_are_one_a_line);
    tcase_add_test(tcase, lists_of_maps_are_columns);
    tcase_add_test(tcase, long_texts_in_columns_show_their_end);
    tcase_add_test(tcase, members_are_found_by_name);
    tcase_add_test(tcase, shards_are_an_array_on_a_pipe);
    tcase_add_test(tcase, shards_are_a_table_on_a_terminal);
    tcase_add_test(tcase, a_senseless_map_is_refused);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
