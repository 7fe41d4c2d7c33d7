/*
 * Offline: what shardcask-shard does with a directory that no daemon has open.
 */
#ifndef SC_SHARD_OFFLINE_H
#define SC_SHARD_OFFLINE_H

#include "common/status.h"

#include <stdbool.h>
#include <stdio.h>

/* Where the findings go: a table on a terminal, else a line of JSON for each; and progress, if that
 * is a terminal, and sentences. */
struct sc_offline_output {
    FILE *out;
    FILE *err;
    bool out_terminal;
    bool err_terminal;
};

/* The exit status of the program. */
enum sc_offline_exit {
    SC_OFFLINE_CLEAN = 0,
    SC_OFFLINE_FAILED = 1, /* it could not be done: nothing was found out */
    SC_OFFLINE_DAMAGED = 3, /* there is damage */
};

/* Reads every record and every hint of the store in `dir`, whose lock it shares with other readers,
 * and prints what is damaged. Changes nothing. */
enum sc_offline_exit sc_offline_check(const char *dir, const struct sc_offline_output *output);

/* Makes the store in `dir` whole again as far as it can be decided what that is, and prints what
 * was damaged and what was done. Files that are replaced stay in the quarantine. `accept_loss`:
 * lets go of what nobody can know. SC_OFFLINE_DAMAGED: something had to be left as it is. It can be
 * done again, also when it was interrupted. */
enum sc_offline_exit sc_offline_repair(const char *dir, bool accept_loss,
                                       const struct sc_offline_output *output);

#endif
