/*
 * Flags: the command-line options that all daemons have, read with argp as a child of a daemon's
 * own options, and what follows from them at the start.
 */
#ifndef SC_COMMON_FLAGS_H
#define SC_COMMON_FLAGS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define SC_FLAGS_URLS_MAX 16
#define SC_FLAGS_EXIT_USAGE 2

/* Readable. Start with SC_FLAGS_DEFAULT. */
struct sc_flags {
    const char *dir; /* never NULL after parsing */
    const char *urls[SC_FLAGS_URLS_MAX]; /* to listen on */
    size_t url_count;
    uint64_t value_max;
    uint64_t message_max;
    uint64_t cpu;
    bool has_cpu;
    int log_level;
};
#define SC_FLAGS_DEFAULT                                                          \
    {                                                                             \
        .value_max = SC_VALUE_MAX_DEFAULT, .message_max = SC_MESSAGE_MAX_DEFAULT, \
        .log_level = SC_LOG_INFO                                                  \
    }

/* The child: --dir, --listen, --max-value, --max-message, --cpu, --log. Its input is a struct
 * sc_flags. Keys of a daemon's own options are at least SC_FLAGS_KEY_FIRST. */
extern const struct argp sc_flags_argp;
#define SC_FLAGS_KEY_FIRST 512

/* For a value that makes no sense to the option of this key: says so and ends the process. */
void sc_flags_bad_value(const struct argp_state *state, const struct argp_option *options, int key,
                        const char *text);

/* Sets up logging under `name`, signals and the CPU, and checks the addresses, in this order.
 * Before the first thread. SC_BADREQUEST: the flags are wrong. */
enum sc_status sc_flags_apply(const struct sc_flags *flags, const char *name, char *why);

/* Checks addresses of servers to talk to. */
enum sc_status sc_flags_check_urls(const char *const *urls, size_t count, char *why);

/* The exit status of a daemon that ended with `status`; says `why` if it is an error. */
int sc_flags_exit(const char *program, enum sc_status status, const char *why);

#endif
