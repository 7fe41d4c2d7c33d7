/*
 * The commands: their names, what they take and what runs them.
 */
#ifndef SC_TOOLS_CLI_COMMANDS_H
#define SC_TOOLS_CLI_COMMANDS_H

#include "tools/cli.h"
#include "tools/cli_args.h"

typedef int sc_cli_run(struct sc_cli *cli, const struct sc_cli_args *args);

struct sc_cli_command {
    const char *name; /* NULL ends the table */
    const char *synopsis; /* the arguments, as the help shows them */
    const char *summary; /* one line */
    const char *details; /* more lines for `help COMMAND`, or NULL */
    size_t least; /* arguments that are not options */
    size_t most;
    const struct sc_cli_option *options;
    sc_cli_run *run;
};

/* Options of every command: --url, --timeout, --raw, --json, --help. */
extern const struct sc_cli_option sc_cli_commands_common[];

/* The table, in the order of the help. */
const struct sc_cli_command *sc_cli_commands(void);

/* A command by its name, or NULL. */
const struct sc_cli_command *sc_cli_commands_find(const char *name);

/* Runs the command line `argv` (its first word is the command; options may stand before it) and
 * returns an exit status. The options in it hold for this command only, except those in `cli`. */
int sc_cli_commands_run(struct sc_cli *cli, size_t argc, const char *const *argv);

/* Prints the list of commands, or the help of one. */
void sc_cli_commands_help(FILE *out, bool shell);
void sc_cli_commands_help_one(FILE *out, const struct sc_cli_command *command);

/* What runs them. cli_data.c: */
sc_cli_run sc_cli_data_get, sc_cli_data_put, sc_cli_data_del, sc_cli_data_exists, sc_cli_data_mget,
    sc_cli_data_incr, sc_cli_data_meta, sc_cli_data_touch;
/* cli_store.c: */
sc_cli_run sc_cli_store_scan, sc_cli_store_count, sc_cli_store_clear, sc_cli_store_sync,
    sc_cli_store_compact, sc_cli_store_ping;
/* cli_import.c, cli_export.c: */
sc_cli_run sc_cli_import, sc_cli_export;
/* cli_backup.c: */
sc_cli_run sc_cli_backup;
/* cli_restore.c: */
sc_cli_run sc_cli_restore;
/* cli_admin.c: */
sc_cli_run sc_cli_admin_shards, sc_cli_admin_map, sc_cli_admin_stats;
/* cli_shard.c, cli_rebalance.c: */
sc_cli_run sc_cli_shard, sc_cli_rebalance;

/* cli_upkeep.c */
int sc_cli_upkeep_compact(struct sc_cli *cli, const struct sc_cli_args *args);
int sc_cli_upkeep_scrub(struct sc_cli *cli, const struct sc_cli_args *args);
int sc_cli_upkeep_config(struct sc_cli *cli, const struct sc_cli_args *args);
/* cli_damage.c */
int sc_cli_damage(struct sc_cli *cli, const struct sc_cli_args *args);

#endif
