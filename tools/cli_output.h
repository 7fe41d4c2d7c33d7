/*
 * What commands print: JSON lines, and on a terminal tables with a little colour.
 */
#ifndef SC_TOOLS_CLI_OUTPUT_H
#define SC_TOOLS_CLI_OUTPUT_H

#include "common/buf.h"
#include "tools/cli.h"

/* Prints an encoded value as one line of JSON. False when it is no msgpack. */
bool sc_cli_output_json(struct sc_cli *cli, struct sc_slice value);

/* Prints an encoded value raw: the bytes of a str or bin as they are, anything else as JSON.
 * `line`: end it with a newline. */
bool sc_cli_output_raw(struct sc_cli *cli, struct sc_slice value, bool line);

/* Prints a buffer and a newline. */
void sc_cli_output_line(struct sc_cli *cli, const struct sc_buf *line);

/* Whether to print tables rather than JSON. */
bool sc_cli_output_pretty(const struct sc_cli *cli);

enum sc_cli_colour { SC_CLI_PLAIN, SC_CLI_BOLD, SC_CLI_GREEN, SC_CLI_YELLOW, SC_CLI_RED };

/* ---- Tables: rows of cells; a column is as wide as its widest cell ---- */

struct sc_cli_cell {
    char *text; /* owned */
    enum sc_cli_colour colour;
    bool right; /* to the right edge: numbers */
};

struct sc_cli_table {
    size_t columns;
    struct sc_cli_cell *cells; /* row by row */
    size_t count;
};

void sc_cli_table_init(struct sc_cli_table *table, size_t columns);

/* Adds the next cell, from left to right and top to bottom; copies the text. */
void sc_cli_table_add(struct sc_cli_table *table, enum sc_cli_colour colour, const char *text);
void sc_cli_table_add_number(struct sc_cli_table *table, uint64_t number);
/* A cell with "up", "down" and so on, in the colour that fits. */
void sc_cli_table_add_state(struct sc_cli_table *table, struct sc_slice state);
/* A cell, to the right, with any encoded value: numbers and text plain, other things as JSON. */
void sc_cli_table_add_value(struct sc_cli_table *table, struct sc_slice value);

/* Frees a table that is not going to be printed. */
void sc_cli_table_fini(struct sc_cli_table *table);

/* Prints the table and frees it. */
void sc_cli_table_print(struct sc_cli *cli, struct sc_cli_table *table);

#endif
