#include "tools/cli_output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "common/mp.h"
#include "tools/progress.h"

bool sc_cli_output_json(struct sc_cli *cli, struct sc_slice value)
{
    struct sc_buf json = {0};
    bool good = sc_json_write(value, &json, NULL) == SC_OK;
    if (good) {
        sc_cli_output_line(cli, &json);
    }
    sc_buf_fini(&json);
    return good;
}

bool sc_cli_output_raw(struct sc_cli *cli, struct sc_slice value, bool line)
{
    struct sc_mp mp = sc_mp(value);
    struct sc_slice bytes = {NULL, 0};
    if (!sc_mp_bytes(&mp, &bytes)) {
        return sc_cli_output_json(cli, value);
    }
    fwrite(bytes.data, 1, bytes.size, cli->out);
    if (line) {
        fputc('\n', cli->out);
    }
    return true;
}

void sc_cli_output_line(struct sc_cli *cli, const struct sc_buf *line)
{
    fwrite(line->data, 1, line->size, cli->out);
    fputc('\n', cli->out);
}

bool sc_cli_output_pretty(const struct sc_cli *cli)
{
    return cli->out_terminal && !cli->json && !cli->raw;
}

void sc_cli_table_init(struct sc_cli_table *table, size_t columns)
{
    *table = (struct sc_cli_table){.columns = columns};
}

static struct sc_cli_cell *add_cell(struct sc_cli_table *table, const char *text, size_t size)
{
    table->cells = sc_realloc(table->cells, (table->count + 1) * sizeof *table->cells);
    struct sc_cli_cell *cell = &table->cells[table->count++];
    *cell = (struct sc_cli_cell){.text = sc_alloc(size + 1)};
    memcpy(cell->text, text, size);
    cell->text[size] = '\0';
    /* Control characters would be the terminal's, and the table's shape is not theirs to change. */
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)cell->text[i] < 0x20 || cell->text[i] == 0x7f) {
            cell->text[i] = '?';
        }
    }
    return cell;
}

void sc_cli_table_add(struct sc_cli_table *table, enum sc_cli_colour colour, const char *text)
{
    add_cell(table, text, strlen(text))->colour = colour;
}

void sc_cli_table_add_number(struct sc_cli_table *table, uint64_t number)
{
    char text[32];
    sc_progress_number(number, text);
    add_cell(table, text, strlen(text))->right = true;
}

void sc_cli_table_add_state(struct sc_cli_table *table, struct sc_slice state)
{
    enum sc_cli_colour colour = SC_CLI_YELLOW;
    if (sc_slice_equal(state, sc_slice_str("up"))) {
        colour = SC_CLI_GREEN;
    } else if (sc_slice_equal(state, sc_slice_str("down"))) {
        colour = SC_CLI_RED;
    }
    add_cell(table, state.data, state.size)->colour = colour;
}

void sc_cli_table_add_value(struct sc_cli_table *table, struct sc_slice value)
{
    struct sc_mp mp = sc_mp(value);
    struct sc_slice text = {NULL, 0};
    uint64_t number = 0;
    enum sc_mp_type type = sc_mp_peek(&mp);
    if (type == SC_MP_UINT && sc_mp_uint(&mp, &number)) {
        sc_cli_table_add_number(table, number);
    } else if (type == SC_MP_STR && sc_mp_str(&mp, &text)) {
        add_cell(table, text.data, text.size)->right = true;
    } else {
        struct sc_buf json = {0};
        if (sc_json_write(value, &json, NULL) != SC_OK) {
            sc_buf_append(&json, "?", 1);
        }
        add_cell(table, (const char *)json.data, json.size)->right = true;
        sc_buf_fini(&json);
    }
}

/* Characters, not bytes: the continuation bytes of UTF-8 take no room. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static void print_padding(FILE *out, size_t count)
{
    for (; count > 0; count--) {
        fputc(' ', out);
    }
}

static void print_cell(struct sc_cli *cli, const struct sc_cli_cell *cell, size_t width, bool last)
{
    static const char *const codes[] = {"", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
    size_t padding = width - text_width(cell->text);
    bool coloured = cli->colour && cell->colour != SC_CLI_PLAIN;
    print_padding(cli->out, cell->right ? padding : 0);
    fprintf(cli->out, "%s%s%s", coloured ? codes[cell->colour] : "", cell->text,
            coloured ? "\033[0m" : "");
    print_padding(cli->out, cell->right || last ? 0 : padding);
    fputs(last ? "\n" : "  ", cli->out);
}

void sc_cli_table_fini(struct sc_cli_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i].text);
    }
    free(table->cells);
    *table = (struct sc_cli_table){0};
}

void sc_cli_table_print(struct sc_cli *cli, struct sc_cli_table *table)
{
    size_t *widths = sc_calloc(table->columns, sizeof *widths);
    for (size_t i = 0; i < table->count; i++) {
        size_t width = text_width(table->cells[i].text);
        size_t *widest = &widths[i % table->columns];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        print_cell(cli, &table->cells[i], widths[column], column + 1 == table->columns);
    }
    free(widths);
    sc_cli_table_fini(table);
}
