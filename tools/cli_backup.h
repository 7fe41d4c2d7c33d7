/*
 * What backup and restore share.
 */
#ifndef SC_TOOLS_CLI_BACKUP_H
#define SC_TOOLS_CLI_BACKUP_H

#include "tools/backup_list.h"
#include "tools/cli.h"

/* Reads every file of a backup and complains, in the name of `subject`, of those that are not what
 * they should be. Returns an exit status. */
int sc_cli_backup_check(struct sc_cli *cli, const struct sc_backup_list *list, const char *subject);

#endif
