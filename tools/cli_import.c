/* import: records of a file or directory go into the store. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli_commands.h"
#include "tools/import.h"
#include "tools/transfer.h"

#define REDIS_DB_MAX INT32_MAX

/* Reads the options of the reader. */
static bool read_options(struct sc_cli *cli, const struct sc_cli_args *args,
                         const struct sc_import_format *format, struct sc_import_options *options)
{
    const char *text = sc_cli_args_option(args, "db");
    uint64_t db = 0;
    if (text != NULL && !sc_cli_args_uint(text, 0, REDIS_DB_MAX, &db)) {
        sc_cli_complain(cli, 0, "import: %.60s is no number of a Redis database", text);
        return false;
    }
    options->db = text != NULL ? (int64_t)db : -1;
    options->salvage = sc_cli_args_flag(args, "salvage");
    if ((options->db >= 0 || options->salvage) && format != &sc_import_rdb) {
        sc_cli_complain(cli, 0, "import: --db and --salvage are for RDB files, not for %s",
                        format->name);
        return false;
    }
    return true;
}

static bool is_backup(const char *directory)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/backup.json", directory);
    return size > 0 && (size_t)size < sizeof path && access(path, F_OK) == 0;
}

/* Finds the format, by its name or by what is there. */
static const struct sc_import_format *find_format(struct sc_cli *cli, const char *name,
                                                  const char *path)
{
    const struct sc_import_format *format = NULL;
    if (name == NULL || strcmp(name, "auto") == 0) {
        format = sc_import_detect(path);
        if (format == NULL && is_backup(path)) {
            sc_cli_complain(cli, 0, "import: %s is a backup: `shardcask restore` takes it", path);
        } else if (format == NULL) {
            sc_cli_complain(cli, 0,
                            "import: %s is a directory neither of pybitcask (data_N.db) nor of "
                            "Bitcask (N.bitcask.data; of Riak, import the directory of each "
                            "partition)",
                            path);
        }
        return format;
    }
    format = sc_import_format(name);
    if (format == NULL) {
        sc_cli_complain(cli, 0, "import: unknown format %.60s; there is: auto, %s", name,
                        sc_import_format_names());
    }
    return format;
}

int sc_cli_import(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    const char *path = args->words[0];
    const char *report_path = sc_cli_args_option(args, "report");
    struct sc_import_options options;
    const struct sc_import_format *format =
        find_format(cli, sc_cli_args_option(args, "format"), path);
    if (format == NULL || !read_options(cli, args, format, &options)) {
        return SC_CLI_USAGE;
    }
    struct sc_import_reader *reader = format->open(path, &options, why);
    if (reader == NULL) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "import: %s", why);
    }
    const struct sc_transfer transfer = {
        .subject = "import",
        .done = "imported",
        .source = path,
        .report_path = report_path,
        .again = "importing everything again is safe",
    };
    int code = sc_transfer_run(cli, &transfer, format, reader);
    format->close(reader);
    return code;
}
