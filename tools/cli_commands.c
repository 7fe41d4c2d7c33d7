#include "tools/cli_commands.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/status.h"

const struct sc_cli_option sc_cli_commands_common[] = {
    {"url", "URL", "where the store is (default: $SHARDCASK_URL, or " SC_URL_DEFAULT ")"},
    {"timeout", "SECONDS", "how long to wait for the store (default 15)"},
    {"raw", NULL, "bytes instead of JSON: values going in (put) or out (get, scan)"},
    {"json", NULL, "JSON even on a terminal"},
    {"help", NULL, "explain the command"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option no_options[] = {{NULL, NULL, NULL}};

static const struct sc_cli_option put_options[] = {
    {"ttl", "SECONDS", "let the key expire after that time (0.001 to 100 years)"},
    {"file", "PATH", "take the value from a file instead (- is standard input)"},
    {"if-version", "N", "only if the key has this version (0: only if it is absent)"},
    {"sync", NULL, "wait for the disk, whatever the store's setting"},
    {"no-sync", NULL, "do not wait for the disk"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option del_options[] = {
    {"if-version", "N", "only if the key has this version (one key only)"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option touch_options[] = {
    {"none", NULL, "remove the expiry"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option scan_options[] = {
    {"prefix", "P", "only keys that begin so (bytes, or {\"$bin\": base64})"},
    {"limit", "N", "end after N keys"},
    {"values", NULL, "print {\"key\": ..., \"value\": ...} lines"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option clear_options[] = {
    {"yes", NULL, "do not ask"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option import_options[] = {
    {"format", "F", "auto (default), jsonl, pybitcask, basho or rdb"},
    {"report", "FILE", "where to list what was left out (default: NAME.import-report.jsonl here)"},
    {"db", "N", "of a Redis file: the database whose keys to take"},
    {"salvage", NULL, "of a Redis file: take what can be read although it is damaged"},
    {"direct", NULL, "send to the shards themselves, not through the coordinator"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option export_options[] = {
    {"report", "FILE",
     "where to list what cannot be read (default: NAME.export-report.jsonl here)"},
    {"absolute", NULL, "write when a record expires, as \"expires_ms\", not the time left"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option backup_options[] = {
    {"copy", NULL, "copy every file; else those that do not change any more are hard links"},
    {"rate", "BYTES", "bytes a second that each shard reads at most (default 64 MiB; 0: no limit)"},
    {"verify", NULL, "check the backup in DIR, without any server"},
    {"cancel", NULL, "give up the one that is under way"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option restore_options[] = {
    {"keep", NULL, "into a store that is not empty: keys that are there stay as they are"},
    {"overwrite", NULL, "... or are overwritten"},
    {"report", "FILE", "where to list what is damaged (default: DIR.restore-report.jsonl here)"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option shard_options[] = {
    {"weight", "N", "add: N / 100 of an ordinary share (default 100)"},
    {"dry-run", NULL, "change nothing, print what would move"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option rebalance_options[] = {
    {"dry-run", NULL, "print what is to move, and about how long that takes"},
    {"watch", NULL, "follow the moves until none is left; Ctrl-C ends the watching only"},
    {"pause", NULL, "hold the moves"},
    {"resume", NULL, "go on with them, or bring the layout into balance after --cancel"},
    {"cancel", NULL, "end the moves, and leave the layout as it is now"},
    {"rate", "BYTES", "bytes a second at most (0: no limit)"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option compact_options[] = {
    {"wait", NULL, "end when the shards are done"},
    {NULL, NULL, NULL},
};

static const struct sc_cli_option scrub_options[] = {
    {"wait", NULL, "end when everything has been read"},
    {NULL, NULL, NULL},
};

static int run_help(struct sc_cli *cli, const struct sc_cli_args *args);

static const struct sc_cli_command commands[] = {
    {"ping", "", "ask the store who it is", NULL, 0, 0, no_options, sc_cli_store_ping},
    {"get", "KEY", "print a value",
     "JSON; --raw writes the bytes of a string or of bytes as they are.\n"
     "Exit status 1 when there is no such key.",
     1, 1, no_options, sc_cli_data_get},
    {"put", "KEY VALUE", "store a value and print its version",
     "VALUE is JSON when it parses as JSON, else a string; --raw stores it as bytes.\n"
     "VALUE - (or --file PATH) reads it from standard input (or a file). An earlier expiry\n"
     "is cleared unless --ttl sets a new one.",
     1, 2, put_options, sc_cli_data_put},
    {"del", "KEY...", "remove keys and print how many there were", NULL, 1, SIZE_MAX, del_options,
     sc_cli_data_del},
    {"exists", "KEY", "print true or false (exit status 0 or 1)", NULL, 1, 1, no_options,
     sc_cli_data_exists},
    {"mget", "KEY...", "print several values, one {\"key\": ..., \"value\": ...} a line",
     "An absent key gives {\"key\": ..., \"missing\": true} and exit status 1. A key that cannot\n"
     "be read gives {\"key\": ..., \"status\": ..., \"error\": ...} and exit status 3.",
     1, SIZE_MAX, no_options, sc_cli_data_mget},
    {"incr", "KEY [DELTA]", "add to an integer (1 if left out) and print the result",
     "An absent key counts as 0. The expiry of the key stays.", 1, 2, no_options, sc_cli_data_incr},
    {"meta", "KEY", "print version, size, expiry, slot and shard of a key", NULL, 1, 1, no_options,
     sc_cli_data_meta},
    {"touch", "KEY SECONDS|--none", "set or remove the expiry of a key", NULL, 1, 2, touch_options,
     sc_cli_data_touch},
    {"scan", "", "print the keys, one a line",
     "Every key that is present throughout is printed; keys written or removed meanwhile may\n"
     "be or not. Keys come in no useful order, and one may come twice while slots move.",
     0, 0, scan_options, sc_cli_store_scan},
    {"count", "", "print how many keys there are", NULL, 0, 0, no_options, sc_cli_store_count},
    {"clear", "", "remove every key and print how many there were",
     "Asks first on a terminal; without one it needs --yes.", 0, 0, clear_options,
     sc_cli_store_clear},
    {"import", "PATH", "store the records of a file or directory (- is standard input)",
     "JSON lines: {\"key\": ..., \"value\": ...} and, if it expires, \"ttl_ms\" or "
     "\"expires_ms\",\n"
     "as export writes them; when a key comes twice, the last one stays. A directory of pybitcask\n"
     "or of Basho's Bitcask (Riak). The string keys of an RDB file of Redis or Valkey. See\n"
     "docs/MIGRATING.md.\n"
     "Nothing is written to the source. What cannot be taken is left out, counted by reason and\n"
     "listed in a report (exit status 3); the rest is stored. Importing again is safe.",
     1, 1, import_options, sc_cli_import},
    {"export", "FILE", "write every record as JSON lines (- is standard output)",
     "It is what each shard holds at one moment, while writes go on; the file is replaced when it\n"
     "is complete, never before. Expiries are kept as the time left (\"ttl_ms\"), or, with\n"
     "--absolute, as milliseconds since 1970 (\"expires_ms\"); keys that expire meanwhile are "
     "left\n"
     "out. Integers, floats and bytes are exact: see docs/MIGRATING.md. Records that cannot be\n"
     "read are listed in a report (exit status 3), and everything else is written.",
     1, 1, export_options, sc_cli_export},
    {"backup", "[DIR]", "copy the store to a directory while it serves, or check such a copy",
     "Each shard puts what it holds at one moment into DIR/shard-ID, on its own machine; the\n"
     "coordinator writes DIR/backup.json when all are complete: without it DIR is no backup. DIR\n"
     "is made if its parent is there. Ctrl-C gives it up. Without DIR, how far the last one is.\n"
     "`restore` puts a backup into a fleet. See docs/OPERATING.md.",
     0, 1, backup_options, sc_cli_backup},
    {"restore", "DIR", "put the records of a backup into an empty store, of however many shards",
     "DIR is on this machine, with the directories of all shards in it. Every file is checked\n"
     "before anything is written. Values and expiries are those of the backup, what has expired\n"
     "stays away; versions are new. What cannot be read is listed in a report (exit status 3).\n"
     "After an interruption run it again with --keep. See docs/OPERATING.md.",
     1, 1, restore_options, sc_cli_restore},
    {"shards", "", "list the shards, their state and their share", NULL, 0, 0, no_options,
     sc_cli_admin_shards},
    {"map", "", "print the cluster map: epoch, shards, who owns which slots", NULL, 0, 0,
     no_options, sc_cli_admin_map},
    {"stats", "", "print figures of the store and of each shard", NULL, 0, 0, no_options,
     sc_cli_admin_stats},
    {"compact", "", "ask every shard to reclaim disk space now",
     "On a terminal, or with --wait, it shows how far the shards are and ends when they are done;\n"
     "else progress is in stats.",
     0, 0, compact_options, sc_cli_upkeep_compact},
    {"scrub", "", "ask every shard to read all that it has on disk now",
     "On a terminal it waits for the end and shows how far it is; elsewhere only with --wait. "
     "Then\n"
     "exit status 3 means that damage is known: `shardcask damage` lists it.",
     0, 0, scrub_options, sc_cli_upkeep_scrub},
    {"damage", "", "list what is known to be damaged on the shards' disks",
     "Found by the scrub, by reads, by merges and when a shard was started. Exit status 3 when\n"
     "there is any. docs/OPERATING.md says what to do.",
     0, 0, no_options, sc_cli_damage},
    {"config", "[NAME VALUE]",
     "print the settings that can be changed while running, or change one",
     "merge_dead_percent, merge_dead_bytes, merge_bytes_per_second, merge_paused: of every shard;\n"
     "merges_at_once: how many shards may merge at a time. snapshot_memory, snapshot_idle_ms: of\n"
     "the snapshots that exports read. A change lasts until the coordinator is restarted; the\n"
     "daemons' flags say what holds then.",
     0, 2, no_options, sc_cli_upkeep_config},
    {"sync", "", "wait until all that was acknowledged is on disk", NULL, 0, 0, no_options,
     sc_cli_store_sync},
    {"shard", "add|remove|weight", "let a shard join, or leave, or change the share it should have",
     "  shard add URL [--weight N]   prints the id of the new shard\n"
     "  shard remove ID              moves its keys to the others, then lets it go\n"
     "  shard weight ID N            it should have N / 100 of an ordinary share\n"
     "The moves go on in the background: see `rebalance`.",
     2, 3, shard_options, sc_cli_shard},
    {"rebalance", "", "show the moves of slots between shards, or steer them", NULL, 0, 0,
     rebalance_options, sc_cli_rebalance},
    {"help", "[COMMAND]", "explain the commands, or one of them", NULL, 0, 1, no_options, run_help},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

const struct sc_cli_command *sc_cli_commands(void)
{
    return commands;
}

const struct sc_cli_command *sc_cli_commands_find(const char *name)
{
    for (const struct sc_cli_command *command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static void print_options(FILE *out, const struct sc_cli_option *options)
{
    for (; options->name != NULL; options++) {
        char text[64];
        snprintf(text, sizeof text, "--%s%s%s", options->name, options->argument != NULL ? " " : "",
                 options->argument != NULL ? options->argument : "");
        fprintf(out, "  %-20s  %s\n", text, options->help);
    }
}

void sc_cli_commands_help_one(FILE *out, const struct sc_cli_command *command)
{
    fprintf(out, "%s%s%s: %s\n", command->name, *command->synopsis != '\0' ? " " : "",
            command->synopsis, command->summary);
    if (command->details != NULL) {
        fprintf(out, "\n%s\n", command->details);
    }
    if (command->options->name != NULL) {
        fputs("\nOptions:\n", out);
        print_options(out, command->options);
    }
    fputs("\nOptions of every command:\n", out);
    print_options(out, sc_cli_commands_common);
}

void sc_cli_commands_help(FILE *out, bool shell)
{
    if (!shell) {
        fputs("Usage: shardcask [--url URL] COMMAND [ARGUMENT...]\n\n"
              "Talks to a shardcask store. Without a command, on a terminal, it asks for commands\n"
              "one by one.\n\n",
              out);
    }
    fputs("Commands:\n", out);
    for (const struct sc_cli_command *command = commands; command->name != NULL; command++) {
        char text[64];
        snprintf(text, sizeof text, "%s %s", command->name, command->synopsis);
        fprintf(out, "  %-25s  %s\n", text, command->summary);
    }
    if (shell) {
        fputs("  exit                       leave (or Ctrl-D)\n", out);
        return;
    }
    fputs("\nOptions of every command:\n", out);
    print_options(out, sc_cli_commands_common);
    fputs(
        "  --version             print the version\n\n"
        "A KEY is the bytes given, or {\"$bin\": base64}. A VALUE is JSON when it parses as JSON,\n"
        "else a string. What JSON cannot say is printed, and read, as {\"$bin\": base64},\n"
        "{\"$ext\": [type, base64]}, {\"$float\": \"nan\"}, {\"$str\": base64} for text that is "
        "not\n"
        "UTF-8, and {\"$map\": [[key, value]...]} for maps whose keys are not text.\n\n"
        "Exit status: 0 done; 1 a key was not found; 2 wrong usage; 3 the store answered with an\n"
        "error, or something was left out; 4 the store cannot be reached.\n\n"
        "`shardcask help COMMAND` says more about a command.\n",
        out);
}

static int run_help(struct sc_cli *cli, const struct sc_cli_args *args)
{
    if (args->count == 0) {
        sc_cli_commands_help(cli->out, cli->shell);
        return SC_CLI_DONE;
    }
    const struct sc_cli_command *command = sc_cli_commands_find(args->words[0]);
    if (command == NULL) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "there is no command %.60s; see `help`",
                               args->words[0]);
    }
    sc_cli_commands_help_one(cli->out, command);
    return SC_CLI_DONE;
}

/* Takes over the options that every command has. */
static bool apply_common(struct sc_cli *cli, const struct sc_cli_args *args, char *why)
{
    const char *url = sc_cli_args_option(args, "url");
    const char *timeout = sc_cli_args_option(args, "timeout");
    if (url != NULL) {
        cli->url = url;
    }
    if (timeout != NULL && !sc_cli_args_seconds(timeout, 86400000, &cli->timeout_ms)) {
        sc_fail(why, SC_BADREQUEST, "--timeout %.60s is no number of seconds from 0.001 to 86400",
                timeout);
        return false;
    }
    cli->direct |= sc_cli_args_flag(args, "direct");
    cli->raw |= sc_cli_args_flag(args, "raw");
    cli->json |= sc_cli_args_flag(args, "json");
    return true;
}

static int run_command(struct sc_cli *cli, const struct sc_cli_command *command,
                       const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    if (sc_cli_args_flag(args, "help")) {
        sc_cli_commands_help_one(cli->out, command);
        return SC_CLI_DONE;
    }
    if (args->count < command->least || args->count > command->most) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "usage: %s%s%s; `help %s` says more",
                               command->name, *command->synopsis == '\0' ? "" : " ",
                               command->synopsis, command->name);
    }
    /* Options of this one command must not stay: they are put into a copy. */
    struct sc_cli own = *cli;
    if (!apply_common(&own, args, why)) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "%s: %s", command->name, why);
    }
    bool elsewhere =
        own.url != cli->url || own.timeout_ms != cli->timeout_ms || own.direct != cli->direct;
    if (elsewhere) {
        own.db = NULL;
    }
    int code = command->run(&own, args);
    if (elsewhere) {
        sc_cli_disconnect(&own);
    } else {
        cli->db = own.db;
    }
    return code;
}

/* Where the command's name stands: the first word that is neither an option nor its value. */
static size_t find_name(size_t argc, const char *const *argv)
{
    size_t at = 0;
    while (at < argc && strncmp(argv[at], "--", 2) == 0 && argv[at][2] != '\0') {
        bool with_value = strcmp(argv[at], "--url") == 0 || strcmp(argv[at], "--timeout") == 0;
        at += with_value ? 2 : 1;
    }
    return at < argc ? at : argc;
}

int sc_cli_commands_run(struct sc_cli *cli, size_t argc, const char *const *argv)
{
    size_t at = find_name(argc, argv);
    const struct sc_cli_command *command = at < argc ? sc_cli_commands_find(argv[at]) : NULL;
    if (command == NULL) {
        return at < argc ? sc_cli_complain(cli, SC_CLI_USAGE,
                                           "there is no command %.60s; `shardcask help` lists them",
                                           argv[at])
                         : sc_cli_complain(cli, SC_CLI_USAGE,
                                           "a command is missing after %.60s; `shardcask help` "
                                           "lists them, and the options",
                                           argc > 0 ? argv[0] : "shardcask");
    }
    /* The options before the name come behind it, as if they had stood there. */
    const char **rest = sc_calloc(argc, sizeof *rest);
    memcpy(rest, argv, at * sizeof *rest);
    memcpy(rest + at, argv + at + 1, (argc - at - 1) * sizeof *rest);
    struct sc_cli_args args;
    char why[SC_WHY_SIZE] = "";
    int code = SC_CLI_USAGE;
    if (sc_cli_args_init(&args, argc - 1, rest, command->options, sc_cli_commands_common, why)) {
        code = run_command(cli, command, &args);
        sc_cli_args_fini(&args);
    } else {
        sc_cli_complain(cli, code, "%s: %s", command->name, why);
    }
    free(rest);
    return code;
}
