#include "tools/cli_moves.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli_figures.h"
#include "tools/cli_output.h"
#include "tools/progress.h"

#define TEXT_SIZE 32

/* ---- Figures ---- */

static uint64_t number_of(struct sc_slice map, const char *name)
{
    struct sc_slice value = {NULL, 0};
    uint64_t number = 0;
    if (sc_cli_figures_find(map, name, &value)) {
        struct sc_mp mp = sc_mp(value);
        (void)sc_mp_uint(&mp, &number);
    }
    return number;
}

/* False when it is nil or left out. */
static bool has_number(struct sc_slice map, const char *name)
{
    struct sc_slice value = {NULL, 0};
    if (!sc_cli_figures_find(map, name, &value)) {
        return false;
    }
    struct sc_mp mp = sc_mp(value);
    return sc_mp_peek(&mp) == SC_MP_UINT;
}

static struct sc_slice text_of(struct sc_slice map, const char *name)
{
    struct sc_slice value = {NULL, 0};
    struct sc_slice text = {NULL, 0};
    if (sc_cli_figures_find(map, name, &value)) {
        struct sc_mp mp = sc_mp(value);
        if (sc_mp_peek(&mp) == SC_MP_STR) {
            (void)sc_mp_str(&mp, &text);
        }
    }
    return text;
}

/* A cursor at the first of the moves, and how many there are. */
static bool find_moves(struct sc_slice map, struct sc_mp *moves, uint32_t *count)
{
    struct sc_slice value = {NULL, 0};
    if (!sc_cli_figures_find(map, "moves", &value)) {
        return false;
    }
    *moves = sc_mp(value);
    return sc_mp_peek(moves) == SC_MP_ARRAY && sc_mp_array(moves, count);
}

const char *sc_cli_moves_bytes(uint64_t bytes, char *text)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(text, TEXT_SIZE, "%" PRIu64 " bytes", bytes);
        return text;
    }
    for (value /= 1024; value >= 1023.95 && unit < 5; value /= 1024) {
        unit++;
    }
    snprintf(text, TEXT_SIZE, "%.1f %s", value, units[unit]);
    return text;
}

const char *sc_cli_moves_time(uint64_t seconds, char *text)
{
    if (seconds < 60) {
        snprintf(text, TEXT_SIZE, "%" PRIu64 " s", seconds);
    } else if (seconds < 3600) {
        snprintf(text, TEXT_SIZE, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    } else {
        snprintf(text, TEXT_SIZE, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
                 seconds / 60 % 60);
    }
    return text;
}

/* ---- Tables ---- */

static void add_headers(struct sc_cli_table *table, const char *const *names)
{
    for (size_t i = 0; i < table->columns; i++) {
        sc_cli_table_add(table, SC_CLI_BOLD, names[i]);
        table->cells[table->count - 1].right = true;
    }
}

static void add_bytes(struct sc_cli_table *table, uint64_t bytes)
{
    char text[TEXT_SIZE];
    sc_cli_table_add(table, SC_CLI_PLAIN, sc_cli_moves_bytes(bytes, text));
    table->cells[table->count - 1].right = true;
}

static void add_text(struct sc_cli_table *table, struct sc_slice text)
{
    struct sc_buf copy = {0};
    sc_buf_append_slice(&copy, text);
    sc_buf_append(&copy, "", 1);
    sc_cli_table_add(table, SC_CLI_PLAIN, (const char *)copy.data);
    sc_buf_fini(&copy);
}

/* ---- The plan ---- */

static bool print_plan_table(struct sc_cli *cli, struct sc_slice plan)
{
    static const char *const names[] = {"FROM", "TO", "SLOTS", "KEYS", "BYTES"};
    struct sc_mp moves;
    struct sc_cli_table table;
    uint32_t count = 0;
    if (!find_moves(plan, &moves, &count)) {
        return false;
    }
    sc_cli_table_init(&table, 5);
    add_headers(&table, names);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice move = {NULL, 0};
        if (!sc_mp_skip(&moves, &move)) {
            sc_cli_table_fini(&table);
            return false;
        }
        for (size_t column = 0; column < 4; column++) {
            static const char *const members[] = {"from", "to", "slots", "keys"};
            sc_cli_table_add_number(&table, number_of(move, members[column]));
        }
        add_bytes(&table, number_of(move, "bytes"));
    }
    sc_cli_table_print(cli, &table);
    fputc('\n', cli->out);
    return true;
}

bool sc_cli_moves_print_plan(struct sc_cli *cli, struct sc_slice plan)
{
    if (!sc_cli_output_pretty(cli)) {
        return sc_cli_output_json(cli, plan);
    }
    char slots[TEXT_SIZE], keys[TEXT_SIZE], bytes[TEXT_SIZE], rate[TEXT_SIZE], time[TEXT_SIZE];
    if (number_of(plan, "slots") == 0) {
        fputs("nothing would move: every shard has its share\n", cli->out);
        return has_number(plan, "slots");
    }
    if (!print_plan_table(cli, plan)) {
        return false;
    }
    fprintf(cli->out, "%s slots would move, with %s keys in %s; ",
            sc_progress_number(number_of(plan, "slots"), slots),
            sc_progress_number(number_of(plan, "keys"), keys),
            sc_cli_moves_bytes(number_of(plan, "bytes"), bytes));
    if (has_number(plan, "seconds")) {
        fprintf(cli->out, "about %s at %s/s\n", sc_cli_moves_time(number_of(plan, "seconds"), time),
                sc_cli_moves_bytes(number_of(plan, "bytes_per_second"), rate));
    } else {
        fputs("how long it takes is not known, as no rate is set\n", cli->out);
    }
    return true;
}

/* ---- How far the moves are ---- */

/* Control characters would be the terminal's. */
static void print_clean(struct sc_cli *cli, struct sc_slice text)
{
    const unsigned char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++) {
        fputc(bytes[i] < 0x20 || bytes[i] == 0x7f ? '?' : bytes[i], cli->out);
    }
}

static void print_head(struct sc_cli *cli, struct sc_slice state)
{
    char slots[TEXT_SIZE], bytes[TEXT_SIZE], rate[TEXT_SIZE], limit[TEXT_SIZE], time[TEXT_SIZE];
    struct sc_slice name = text_of(state, "state");
    print_clean(cli, name);
    if (sc_cli_moves_idle(state)) {
        fputs(": nothing is to be moved", cli->out);
    } else {
        fprintf(cli->out, ": %s slots and about %s left",
                sc_progress_number(number_of(state, "slots_left"), slots),
                sc_cli_moves_bytes(number_of(state, "bytes_left"), bytes));
        fprintf(cli->out, "; %s/s", sc_cli_moves_bytes(number_of(state, "rate"), rate));
    }
    uint64_t most = number_of(state, "bytes_per_second");
    if (most > 0) {
        fprintf(cli->out, "; at most %s/s", sc_cli_moves_bytes(most, limit));
    } else {
        fputs("; no limit", cli->out);
    }
    if (!sc_cli_moves_idle(state) && has_number(state, "seconds_left")) {
        fprintf(cli->out, "; about %s more",
                sc_cli_moves_time(number_of(state, "seconds_left"), time));
    }
    fputc('\n', cli->out);
}

static void add_move(struct sc_cli_table *table, struct sc_slice move)
{
    char pause[TEXT_SIZE];
    sc_cli_table_add_number(table, number_of(move, "from"));
    sc_cli_table_add_number(table, number_of(move, "to"));
    sc_cli_table_add_number(table, number_of(move, "slots"));
    add_bytes(table, number_of(move, "bytes_done"));
    add_bytes(table, number_of(move, "bytes"));
    sc_cli_table_add_number(table, number_of(move, "attempts"));
    snprintf(pause, sizeof pause, "%.1f ms", (double)number_of(move, "pause_us") / 1000);
    sc_cli_table_add(table, SC_CLI_PLAIN, pause);
    table->cells[table->count - 1].right = true;
    add_text(table, text_of(move, "stage"));
    add_text(table, text_of(move, "trouble"));
}

static bool print_moves(struct sc_cli *cli, struct sc_slice state)
{
    static const char *const names[] = {"FROM",     "TO",    "SLOTS", "COPIED", "OF",
                                        "ATTEMPTS", "PAUSE", "STAGE", "TROUBLE"};
    struct sc_mp moves;
    struct sc_cli_table table;
    uint32_t count = 0;
    if (!find_moves(state, &moves, &count)) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    sc_cli_table_init(&table, 9);
    add_headers(&table, names);
    table.cells[7].right = table.cells[8].right = false;
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice move = {NULL, 0};
        if (!sc_mp_skip(&moves, &move)) {
            sc_cli_table_fini(&table);
            return false;
        }
        add_move(&table, move);
    }
    sc_cli_table_print(cli, &table);
    return true;
}

bool sc_cli_moves_print_state(struct sc_cli *cli, struct sc_slice state)
{
    if (!sc_cli_output_pretty(cli)) {
        return sc_cli_output_json(cli, state);
    }
    struct sc_slice trouble = text_of(state, "trouble");
    print_head(cli, state);
    if (trouble.size > 0) {
        fputs("trouble: ", cli->out);
        print_clean(cli, trouble);
        fputc('\n', cli->out);
    }
    return print_moves(cli, state);
}

bool sc_cli_moves_idle(struct sc_slice state)
{
    return sc_slice_equal(text_of(state, "state"), sc_slice_str("idle"));
}

/* ---- A view that changes ---- */

bool sc_cli_moves_draw(struct sc_cli *cli, struct sc_cli_moves_view *view, struct sc_slice state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *terminal = cli->out;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL) {
        return false;
    }
    cli->out = memory;
    bool good = sc_cli_moves_print_state(cli, state);
    fclose(memory);
    cli->out = terminal;
    if (view->lines > 0) {
        fprintf(terminal, "\033[%uA\033[J", view->lines); /* up, and clear what is below */
    }
    fprintf(terminal, "\033[?7l%s\033[?7h", text); /* without wrapping */
    fflush(terminal);
    view->lines = 0;
    for (size_t i = 0; i < size; i++) {
        view->lines += text[i] == '\n';
    }
    free(text);
    return good;
}
