/* restore: the records of a backup go into a fleet, of however many shards. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/msg.h"
#include "tools/cli_backup.h"
#include "tools/cli_commands.h"
#include "tools/restore_source.h"
#include "tools/transfer.h"

/* Refuses a fleet that has keys. */
static int check_empty(struct sc_cli *cli)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    uint64_t count = 0;
    sc_msg_put_op(&request, SC_OP_COUNT, 0);
    int code = sc_cli_ask(cli, "restore", sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!sc_mp_uint(&reply.result, &count)) {
        code = sc_cli_garbled(cli, "restore");
    } else if (count > 0) {
        code = sc_cli_complain(
            cli, SC_CLI_USAGE,
            "restore: the store at %s is not empty, it has %" PRIu64
            " keys: say --keep to leave them as they are and add what is missing (so that an "
            "interrupted restore can go on), or --overwrite",
            sc_cli_url(cli), count);
    }
    sc_cli_reply_fini(&reply);
    return code;
}

static int restore(struct sc_cli *cli, const struct sc_cli_args *args,
                   const struct sc_backup_list *list)
{
    bool overwrite = sc_cli_args_flag(args, "overwrite");
    struct sc_transfer transfer = {
        .subject = "restore",
        .done = "restored",
        .source = args->words[0],
        .report_path = sc_cli_args_option(args, "report"),
        .again = overwrite ? "run it again" : "run it again with --keep",
        .options = {.flags = SHARDCASK_NO_SYNC},
        .sync = true,
    };
    if (!overwrite) {
        /* What others have written meanwhile is newer than the backup. */
        transfer.options.flags |= SHARDCASK_IF_VERSION;
        transfer.options.if_version = 0;
    }
    struct sc_import_reader *reader = sc_restore_source_open(list);
    int code = sc_transfer_run(cli, &transfer, &sc_restore_source, reader);
    sc_restore_source.close(reader);
    return code;
}

int sc_cli_restore(struct sc_cli *cli, const struct sc_cli_args *args)
{
    bool keep = sc_cli_args_flag(args, "keep");
    bool overwrite = sc_cli_args_flag(args, "overwrite");
    char why[SC_WHY_SIZE] = "";
    if (keep && overwrite) {
        return sc_cli_complain(cli, SC_CLI_USAGE,
                               "restore: --keep and --overwrite exclude each other");
    }
    struct sc_backup_list *list = sc_calloc(1, sizeof *list);
    int code = SC_CLI_DONE;
    if (sc_backup_list_read(args->words[0], list, why) != SC_OK) {
        code = sc_cli_complain(cli, SC_CLI_USAGE, "restore: %s", why);
    }
    if (code == SC_CLI_DONE && !keep && !overwrite) {
        code = check_empty(cli);
    }
    if (code == SC_CLI_DONE) {
        code = sc_cli_backup_check(cli, list, "restore"); /* before anything is written */
    }
    if (code == SC_CLI_DONE) {
        code = restore(cli, args, list);
    }
    sc_backup_list_fini(list);
    free(list);
    return code;
}
