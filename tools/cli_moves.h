/*
 * Moves of slots as they are shown: the plan before they are made, and how far they are. On a
 * terminal sentences and tables, else one line of JSON.
 */
#ifndef SC_TOOLS_CLI_MOVES_H
#define SC_TOOLS_CLI_MOVES_H

#include "tools/cli.h"

/* Each prints the answer to a request, encoded. False when it is not what it should be. */
bool sc_cli_moves_print_plan(struct sc_cli *cli, struct sc_slice plan);
bool sc_cli_moves_print_state(struct sc_cli *cli, struct sc_slice state);

/* Whether the state says that nothing is left to be moved; false too when it is garbled. */
bool sc_cli_moves_idle(struct sc_slice state);

/* A view that is drawn again in place of what it showed before. Lines that are wider than the
 * terminal are cut at its edge. */
struct sc_cli_moves_view {
    unsigned lines; /* that it takes now */
};
bool sc_cli_moves_draw(struct sc_cli *cli, struct sc_cli_moves_view *view, struct sc_slice state);

/* Texts like "1.5 MiB" and "3 min 20 s" in `text` (32 bytes), which is returned. */
const char *sc_cli_moves_bytes(uint64_t bytes, char *text);
const char *sc_cli_moves_time(uint64_t seconds, char *text);

#endif
