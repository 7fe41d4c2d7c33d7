/*
 * A run of the command-line client: where the store is, how to write, and one connection, opened
 * by the first command that needs it and kept by the interactive mode.
 *
 * Commands return an exit status. Results go to `out` as JSON (or tables on a terminal), and every
 * failure says one sentence on `err`. A request is made with sc_cli_call, which keeps two things
 * apart that the exit status tells apart: the store answered with an error, or it did not answer.
 */
#ifndef SC_TOOLS_CLI_H
#define SC_TOOLS_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "client/shardcask.h"
#include "common/buf.h"
#include "common/mp.h"
#include "common/status.h"

/* Contract: the exit status of a command. */
enum sc_cli_exit {
    SC_CLI_DONE = 0,
    SC_CLI_ABSENT = 1, /* a key was not found */
    SC_CLI_USAGE = 2, /* the command line makes no sense */
    SC_CLI_ERROR = 3, /* the store answered with an error, or something was left out */
    SC_CLI_UNREACHABLE = 4, /* the store cannot be reached */
};

struct sc_cli {
    /* Set up by the main function. */
    FILE *out;
    FILE *err;
    bool out_terminal;
    bool err_terminal;
    bool in_terminal;
    bool colour; /* on `out` */
    bool shell; /* in the interactive mode */

    /* What the options of the command say. Borrowed strings. */
    const char *url; /* NULL: SHARDCASK_URL, or the default */
    uint64_t timeout_ms; /* 0: the library's defaults */
    bool direct; /* to the shards, without the coordinator in between */
    bool raw;
    bool json; /* JSON on a terminal too */

    struct shardcask *db; /* NULL until sc_cli_connect */
};

/* An answer of the store. */
struct sc_cli_reply {
    struct shardcask_value body;
    int status;
    char why[SC_WHY_SIZE]; /* the sentence of an error */
    struct sc_mp result; /* a cursor at the first result; borrows the body */
};

/* Says a sentence on `err` and returns `code`. */
int sc_cli_complain(struct sc_cli *cli, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The address in use: the option, the environment's or the default. Valid as long as those. */
const char *sc_cli_url(const struct sc_cli *cli);

/* Connects unless connected. Complains and returns SC_CLI_UNREACHABLE (SC_CLI_USAGE for a
 * senseless address) on failure, else SC_CLI_DONE. */
int sc_cli_connect(struct sc_cli *cli);

/* Closes the connection, if there is one. */
void sc_cli_disconnect(struct sc_cli *cli);

/* Sends a request and waits for the reply. SC_CLI_DONE: there is one, whatever its status; free it
 * with sc_cli_reply_fini. Else it has complained, and nothing is to be freed. */
int sc_cli_call(struct sc_cli *cli, struct sc_slice request, struct sc_cli_reply *reply);

/* Accepts a zeroed reply. */
void sc_cli_reply_fini(struct sc_cli_reply *reply);

/* Complains of the error in a reply, with what to do about it, and returns SC_CLI_ERROR.
 * `subject` is what failed, "put" for example. */
int sc_cli_refused(struct sc_cli *cli, const char *subject, const struct sc_cli_reply *reply);

/* Complains of a reply whose form is not that of the protocol; returns SC_CLI_ERROR. */
int sc_cli_garbled(struct sc_cli *cli, const char *subject);

/* The advice that goes with a status; "" when there is none. Static. */
const char *sc_cli_advice(int status);

/* Call, and refuse everything but status 0: for requests where an error is the end. */
int sc_cli_ask(struct sc_cli *cli, const char *subject, struct sc_slice request,
               struct sc_cli_reply *reply);

/* Ctrl-C during a long command: from sc_cli_catch_interrupts on it only sets a mark, which
 * sc_cli_interrupted tells and clears, and commands end early in good order. With sc_cli_catch_ends
 * so do SIGTERM and SIGHUP, the end of the terminal, until sc_cli_catch_interrupts is called. */
void sc_cli_catch_interrupts(void);
void sc_cli_catch_ends(void);
bool sc_cli_interrupted(void);

#endif
