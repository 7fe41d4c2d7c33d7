#include "tools/cli_args.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static const struct sc_cli_option *find(const struct sc_cli_option *options, const char *name,
                                        size_t size)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (strlen(options->name) == size && memcmp(options->name, name, size) == 0) {
            return options;
        }
    }
    return NULL;
}

/* Takes the option at argv[*at], and its value if that is the next argument. */
static bool take_option(struct sc_cli_args *args, size_t argc, const char *const *argv, size_t *at,
                        const struct sc_cli_option *options, const struct sc_cli_option *common,
                        char *why)
{
    const char *text = argv[*at] + 2;
    size_t size = strcspn(text, "=");
    const struct sc_cli_option *option = find(options, text, size);
    if (option == NULL) {
        option = find(common, text, size);
    }
    if (option == NULL) {
        sc_fail(why, SC_BADREQUEST,
                "unknown option --%.*s; put -- before an argument that begins with dashes",
                (int)(size < 60 ? size : 60), text);
        return false;
    }
    const char *value = "";
    if (option->argument == NULL) {
        if (text[size] == '=') {
            sc_fail(why, SC_BADREQUEST, "--%s takes no value", option->name);
            return false;
        }
    } else if (text[size] == '=') {
        value = text + size + 1;
    } else if (*at + 1 < argc) {
        value = argv[++*at];
    } else {
        sc_fail(why, SC_BADREQUEST, "--%s needs a value: --%s %s", option->name, option->name,
                option->argument);
        return false;
    }
    if (args->given_count == SC_CLI_OPTIONS_MAX) {
        sc_fail(why, SC_BADREQUEST, "more than %d options", SC_CLI_OPTIONS_MAX);
        return false;
    }
    args->given[args->given_count] = option;
    args->values[args->given_count++] = value;
    return true;
}

bool sc_cli_args_init(struct sc_cli_args *args, size_t argc, const char *const *argv,
                      const struct sc_cli_option *options, const struct sc_cli_option *common,
                      char *why)
{
    *args = (struct sc_cli_args){0};
    args->words = sc_calloc(argc + 1, sizeof *args->words);
    bool only_words = false;
    for (size_t i = 0; i < argc; i++) {
        if (only_words || strncmp(argv[i], "--", 2) != 0) {
            args->words[args->count++] = argv[i];
        } else if (argv[i][2] == '\0') {
            only_words = true;
        } else if (!take_option(args, argc, argv, &i, options, common, why)) {
            sc_cli_args_fini(args);
            return false;
        }
    }
    return true;
}

void sc_cli_args_fini(struct sc_cli_args *args)
{
    free(args->words);
    *args = (struct sc_cli_args){0};
}

const char *sc_cli_args_option(const struct sc_cli_args *args, const char *name)
{
    for (size_t i = args->given_count; i > 0; i--) {
        if (strcmp(args->given[i - 1]->name, name) == 0) {
            return args->values[i - 1];
        }
    }
    return NULL;
}

bool sc_cli_args_flag(const struct sc_cli_args *args, const char *name)
{
    return sc_cli_args_option(args, name) != NULL;
}

bool sc_cli_args_uint(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}

bool sc_cli_args_int(const char *text, int64_t *value)
{
    const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
    if (!isdigit((unsigned char)*digits)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *value = number;
    return true;
}

bool sc_cli_args_seconds(const char *text, uint64_t most_ms, uint64_t *milliseconds)
{
    uint64_t total = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++) {
        if (total > most_ms) {
            return false;
        }
        total = total * 10 + (uint64_t)(*at - '0');
    }
    if (at == text || total > most_ms / 1000) {
        return false;
    }
    total *= 1000;
    if (*at == '.') {
        uint64_t unit = 100;
        for (at++; isdigit((unsigned char)*at) && unit > 0; at++, unit /= 10) {
            total += unit * (uint64_t)(*at - '0');
        }
    }
    if (*at != '\0' || total < 1 || total > most_ms) {
        return false;
    }
    *milliseconds = total;
    return true;
}
