/*
 * The arguments of a command: which options it takes, what was given, and the numbers in them.
 *
 * Options begin with "--" and may stand anywhere between the other arguments; a value follows as
 * the next argument or behind "=". What begins with a single "-" is an argument like any other (a
 * negative number, or "-" for standard input), and so is everything behind "--".
 */
#ifndef SC_TOOLS_CLI_ARGS_H
#define SC_TOOLS_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define SC_CLI_OPTIONS_MAX 16

struct sc_cli_option {
    const char *name; /* without the dashes; NULL ends a list */
    const char *argument; /* what to call its value in the help; NULL: a flag without one */
    const char *help;
};

/* What was given. Borrows the strings of the command line. */
struct sc_cli_args {
    const char **words; /* what is not an option, in order */
    size_t count;
    const struct sc_cli_option *given[SC_CLI_OPTIONS_MAX];
    const char *values[SC_CLI_OPTIONS_MAX]; /* "" for a flag */
    size_t given_count;
};

/* Takes a command line apart: `argv` has `argc` strings (no program name), `options` is a list of
 * those allowed, `common` another one (may be NULL). On failure `why` (SC_WHY_SIZE bytes) has the
 * sentence, and nothing needs to be freed. */
bool sc_cli_args_init(struct sc_cli_args *args, size_t argc, const char *const *argv,
                      const struct sc_cli_option *options, const struct sc_cli_option *common,
                      char *why);

/* Frees what init allocated. Accepts a zeroed struct. */
void sc_cli_args_fini(struct sc_cli_args *args);

/* The value of an option ("" for a flag), or NULL when it was not given. The last one counts. */
const char *sc_cli_args_option(const struct sc_cli_args *args, const char *name);

/* True when a flag was given. */
bool sc_cli_args_flag(const struct sc_cli_args *args, const char *name);

/* Reads a whole decimal number. False when it is none or out of range; nothing is stored then. */
bool sc_cli_args_uint(const char *text, uint64_t least, uint64_t most, uint64_t *value);
bool sc_cli_args_int(const char *text, int64_t *value);

/* Reads seconds such as "90" or "0.25" as milliseconds, from 1 to `most_ms`. */
bool sc_cli_args_seconds(const char *text, uint64_t most_ms, uint64_t *milliseconds);

#endif
