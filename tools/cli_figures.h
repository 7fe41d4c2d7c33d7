/*
 * Figures for people: a map of numbers, texts and further maps as a table, one line a figure, and
 * for lists of maps (the shards of stats, the moves of rebalance) one column for each.
 */
#ifndef SC_TOOLS_CLI_FIGURES_H
#define SC_TOOLS_CLI_FIGURES_H

#include "tools/cli.h"

/* Finds a member of an encoded map by its name; `value` gets its extent. */
bool sc_cli_figures_find(struct sc_slice map, const char *name, struct sc_slice *value);

/* Prints an encoded map. False when it is none. */
bool sc_cli_figures_print(struct sc_cli *cli, struct sc_slice map);

#endif
