/*
 * The interactive mode: the same commands, asked for line by line with editing, a history that
 * outlives the session ($XDG_STATE_HOME/shardcask/history, by default under ~/.local/state) and
 * completion. Words are split as a shell does. An error does not end it; `exit` or Ctrl-D does.
 */
#ifndef SC_TOOLS_CLI_SHELL_H
#define SC_TOOLS_CLI_SHELL_H

#include "tools/cli.h"

/* Runs until the person leaves; `argv` has the options for the whole session (--url, --timeout). */
int sc_cli_shell_run(struct sc_cli *cli, size_t argc, const char *const *argv);

#endif
