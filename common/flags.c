#include "common/flags.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/daemon.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/sp.h"

enum { KEY_MAX_VALUE = 256, KEY_MAX_MESSAGE, KEY_CPU, KEY_LOG };

static const struct argp_option option_list[] = {
    {"dir", 'd', "DIR", 0, "Directory of its data (made if absent)", 0},
    {"listen", 'l', "URL", 0,
     "Address to serve on: tcp://host:port or ipc:///path; may be repeated", 0},
    {"max-value", KEY_MAX_VALUE, "SIZE", 0, "Largest encoded value (default 16M)", 0},
    {"max-message", KEY_MAX_MESSAGE, "SIZE", 0, "Largest message (default 64M)", 0},
    {"cpu", KEY_CPU, "N", 0, "Bind the process to CPU N", 0},
    {"log", KEY_LOG, "LEVEL", 0, "error, warn, info (the default) or debug", 0},
    {0},
};

void sc_flags_bad_value(const struct argp_state *state, const struct argp_option *options, int key,
                        const char *text)
{
    const struct argp_option *option = options;
    while (option->name != NULL && option->key != key) {
        option++;
    }
    argp_error(state, "--%s '%s': that is not a value for %s, or out of its range", option->name,
               text, option->arg);
}

static void add_url(struct sc_flags *flags, const struct argp_state *state, const char *url)
{
    if (flags->url_count == SC_FLAGS_URLS_MAX) {
        argp_error(state, "more than %d addresses to listen on", SC_FLAGS_URLS_MAX);
    }
    flags->urls[flags->url_count++] = url;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct sc_flags *flags = state->input;
    bool good = true;
    switch (key) {
    case 'd':
        flags->dir = text;
        break;
    case 'l':
        add_url(flags, state, text);
        break;
    case KEY_MAX_VALUE:
        good = sc_daemon_number(text, true, 1024, 60u << 20, &flags->value_max);
        break;
    case KEY_MAX_MESSAGE:
        good = sc_daemon_number(text, true, 1u << 20, 1u << 30, &flags->message_max);
        break;
    case KEY_CPU:
        good = sc_daemon_number(text, false, 0, 1023, &flags->cpu);
        flags->has_cpu = true;
        break;
    case KEY_LOG:
        flags->log_level = sc_log_level_parse(text);
        good = flags->log_level >= 0;
        break;
    case ARGP_KEY_END:
        if (flags->dir == NULL) {
            argp_error(state, "--dir is needed");
        }
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (!good) {
        sc_flags_bad_value(state, option_list, key, text);
    }
    return 0;
}

const struct argp sc_flags_argp = {.options = option_list, .parser = parse};

enum sc_status sc_flags_apply(const struct sc_flags *flags, const char *name, char *why)
{
    enum sc_status status = SC_OK;
    sc_log_init(name, (enum sc_log_level)flags->log_level);
    sc_daemon_init();
    for (size_t i = 0; i < flags->url_count && status == SC_OK; i++) {
        status = sc_sp_url_check(flags->urls[i], true, why);
    }
    if (status == SC_OK && flags->has_cpu) {
        status = sc_daemon_bind_cpu((unsigned)flags->cpu, why);
    }
    return status;
}

enum sc_status sc_flags_check_urls(const char *const *urls, size_t count, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < count && status == SC_OK; i++) {
        status = sc_sp_url_check(urls[i], false, why);
    }
    return status;
}

int sc_flags_exit(const char *program, enum sc_status status, const char *why)
{
    if (status == SC_OK) {
        sc_log_info("stopped");
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "%s: %s\n", program, why);
    return status == SC_BADREQUEST ? SC_FLAGS_EXIT_USAGE : EXIT_FAILURE;
}
