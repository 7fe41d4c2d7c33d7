/*
 * shardcask: the command-line client.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/version.h"
#include "tools/cli.h"
#include "tools/cli_commands.h"
#include "tools/cli_shell.h"

/* Colour when a person looks at it, who did not ask for none (https://no-color.org). */
static bool wants_colour(bool terminal)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return terminal && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* --help and --version before any command; -1 when it is neither. */
static int run_without_store(int argc, char **argv)
{
    if (argc != 2) {
        return -1;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("shardcask " SC_VERSION);
        return SC_CLI_DONE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        sc_cli_commands_help(stdout, false);
        return SC_CLI_DONE;
    }
    return -1;
}

/* True when nothing but --url and --timeout was given: the interactive mode is meant. */
static bool only_options(int argc, char **argv)
{
    int at = 1;
    while (at < argc && (strcmp(argv[at], "--url") == 0 || strcmp(argv[at], "--timeout") == 0)) {
        at += 2;
    }
    return at == argc;
}

static int run(struct sc_cli *cli, int argc, char **argv)
{
    const char *const *words = (const char *const *)(argv + 1);
    if (cli->in_terminal && cli->out_terminal && only_options(argc, argv)) {
        return sc_cli_shell_run(cli, (size_t)argc - 1, words);
    }
    return sc_cli_commands_run(cli, (size_t)argc - 1, words);
}

int main(int argc, char **argv)
{
    struct sc_cli cli = {
        .out = stdout,
        .err = stderr,
        .in_terminal = isatty(STDIN_FILENO) == 1,
        .out_terminal = isatty(STDOUT_FILENO) == 1,
        .err_terminal = isatty(STDERR_FILENO) == 1,
    };
    cli.colour = wants_colour(cli.out_terminal);
    int code = run_without_store(argc, argv);
    if (code < 0) {
        code = run(&cli, argc, argv);
    }
    sc_cli_disconnect(&cli);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        code = sc_cli_complain(&cli, code == SC_CLI_DONE ? SC_CLI_ERROR : code,
                               "the output could not be written: %s", strerror(errno));
    }
    return code;
}
