#include "tools/cli_shell.h"

#include <ctype.h>
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/cli_args.h"
#include "tools/cli_commands.h"
#include "tools/cli_words.h"

#define HISTORY_LINES 1000
#define COMPLETIONS_MAX 64

static char *prompt(EditLine *editor)
{
    (void)editor;
    static char text[] = "shardcask> ";
    return text;
}

/* ---- History ---- */

/* Makes the folders above the last part of `path`; errors show when the file is written. */
static void make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
}

/* The file of the history, or NULL when there is no home for it. The caller frees it. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int size = -1;
    if (state != NULL && *state == '/') {
        size = asprintf(&path, "%s/shardcask/history", state);
    } else if (home != NULL && *home == '/') {
        size = asprintf(&path, "%s/.local/state/shardcask/history", home);
    }
    return size < 0 ? NULL : path;
}

/* ---- Completion ---- */

/* The names that complete the word under the cursor, given the words before it. */
static size_t find_candidates(const char *before, const char *start, size_t size,
                              const char **found)
{
    static const char *const shard_words[] = {"add", "remove"};
    size_t count = 0;
    if (*before == '\0' || strcmp(before, "help") == 0) {
        for (const struct sc_cli_command *command = sc_cli_commands(); command->name != NULL;
             command++) {
            if (strncmp(command->name, start, size) == 0 && count < COMPLETIONS_MAX) {
                found[count++] = command->name;
            }
        }
    } else if (strcmp(before, "shard") == 0) {
        for (size_t i = 0; i < sizeof shard_words / sizeof *shard_words; i++) {
            if (strncmp(shard_words[i], start, size) == 0) {
                found[count++] = shard_words[i];
            }
        }
    }
    return count;
}

/* How many characters all candidates begin with. */
static size_t common_start(const char *const *found, size_t count)
{
    size_t size = strlen(found[0]);
    for (size_t i = 1; i < count; i++) {
        size_t same = 0;
        while (same < size && found[i][same] == found[0][same]) {
            same++;
        }
        size = same;
    }
    return size;
}

static unsigned char complete(EditLine *editor, int key)
{
    (void)key;
    const LineInfo *line = el_line(editor);
    const char *start = line->cursor;
    while (start > line->buffer && !isspace((unsigned char)start[-1])) {
        start--;
    }
    /* The one word before, if there is just one. */
    char before[32] = "";
    const char *first = line->buffer;
    while (first < start && isspace((unsigned char)*first)) {
        first++;
    }
    const char *end = first;
    while (end < start && !isspace((unsigned char)*end)) {
        end++;
    }
    snprintf(before, sizeof before, "%.*s", (int)(end - first), first);
    const char *found[COMPLETIONS_MAX];
    size_t size = (size_t)(line->cursor - start);
    size_t count = find_candidates(before, start, size, found);
    if (count == 0) {
        return CC_REFRESH_BEEP;
    }
    size_t same = common_start(found, count);
    char text[64];
    snprintf(text, sizeof text, "%.*s%s", (int)(same - size), found[0] + size,
             count == 1 ? " " : "");
    if (*text != '\0') {
        return el_insertstr(editor, text) == 0 ? CC_REFRESH : CC_REFRESH_BEEP;
    }
    putchar('\n');
    for (size_t i = 0; i < count; i++) {
        printf("%s%s", found[i], i + 1 < count ? "  " : "\n");
    }
    fflush(stdout);
    return CC_REDISPLAY;
}

/* ---- Lines ---- */

/* Runs one line. False when it asks to leave. */
static bool run_line(struct sc_cli *cli, const char *line)
{
    struct sc_cli_words words;
    const char *wrong = sc_cli_words_split(&words, line);
    if (wrong != NULL) {
        sc_cli_complain(cli, SC_CLI_USAGE, "%s", wrong);
        return true;
    }
    bool leave = words.count == 1 &&
                 (strcmp(words.words[0], "exit") == 0 || strcmp(words.words[0], "quit") == 0);
    if (words.count > 0 && !leave) {
        sc_cli_commands_run(cli, words.count, (const char *const *)words.words);
        fflush(cli->out);
    }
    sc_cli_words_fini(&words);
    return !leave;
}

/* Waits for a byte on the terminal, or for Ctrl-C: then false, and errno is EINTR. The signal is
 * blocked but here, so that it cannot arrive unseen just before the wait. */
static bool wait_for_byte(void)
{
    fd_set input;
    sigset_t open;
    FD_ZERO(&input);
    FD_SET(STDIN_FILENO, &input);
    (void)sigprocmask(SIG_BLOCK, NULL, &open);
    (void)sigdelset(&open, SIGINT);
    return pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &open) > 0;
}

/* Reads a character for the editor: 1, 0 at the end, -1 with errno. */
static int read_character(EditLine *editor, wchar_t *character)
{
    mbstate_t state = {0};
    (void)editor;
    for (;;) {
        char byte;
        if (!wait_for_byte()) {
            return -1;
        }
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got <= 0) {
            return (int)got;
        }
        size_t taken = mbrtowc(character, &byte, 1, &state);
        if (taken == (size_t)-1) {
            state = (mbstate_t){0}; /* not a character of this locale: leave it out */
        } else if (taken != (size_t)-2) {
            return 1;
        }
    }
}

static const char *read_line(EditLine *editor, int *size)
{
    sigset_t interrupt;
    sigset_t before;
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, &before);
    errno = 0;
    const char *line = el_gets(editor, size);
    int error = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return line;
}

static void read_lines(struct sc_cli *cli, EditLine *editor, History *past)
{
    for (;;) {
        int size = 0;
        sc_cli_catch_interrupts();
        const char *line = read_line(editor, &size);
        if (line == NULL && errno == EINTR) {
            /* Ctrl-C gives the line up, not the session. */
            fputc('\n', cli->out);
            el_reset(editor);
            continue;
        }
        if (line == NULL || size <= 0) {
            fputc('\n', cli->out);
            return;
        }
        /* The editor's line may change while a command runs. */
        size_t length = strlen(line);
        char *copy = sc_alloc(length + 1);
        memcpy(copy, line, length + 1);
        bool stay = run_line(cli, copy);
        HistEvent event;
        if (stay && copy[strspn(copy, " \t\r\n")] != '\0') {
            history(past, &event, H_ENTER, copy);
        }
        free(copy);
        if (!stay) {
            return;
        }
    }
}

/* Takes the options of the session. */
static bool take_options(struct sc_cli *cli, size_t argc, const char *const *argv)
{
    struct sc_cli_args args;
    char why[SC_WHY_SIZE] = "";
    if (!sc_cli_args_init(&args, argc, argv, sc_cli_commands_common, NULL, why)) {
        sc_cli_complain(cli, SC_CLI_USAGE, "%s", why);
        return false;
    }
    const char *url = sc_cli_args_option(&args, "url");
    const char *timeout = sc_cli_args_option(&args, "timeout");
    cli->url = url != NULL ? url : cli->url;
    bool good = timeout == NULL || sc_cli_args_seconds(timeout, 86400000, &cli->timeout_ms);
    sc_cli_args_fini(&args);
    if (!good) {
        sc_cli_complain(cli, SC_CLI_USAGE, "--timeout needs a number of seconds");
    }
    return good;
}

static void run_session(struct sc_cli *cli, EditLine *editor, History *past)
{
    HistEvent event;
    char *path = history_path();
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    history(past, &event, H_SETUNIQUE, 1);
    if (path != NULL) {
        make_parents(path);
        history(past, &event, H_LOAD, path);
    }
    el_set(editor, EL_PROMPT, prompt);
    el_set(editor, EL_GETCFN, read_character);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);
    el_set(editor, EL_HIST, history, past);
    /* The narrow form of this call leaks its strings. */
    el_wset(editor, EL_ADDFN, L"complete-command", L"Complete a command", complete);
    el_set(editor, EL_BIND, "^I", "complete-command", NULL);
    /* A Ctrl-D that was typed while a command ran arrives as a NUL. */
    el_set(editor, EL_BIND, "^@", "ed-end-of-file", NULL);
    el_source(editor, NULL);
    read_lines(cli, editor, past);
    if (path != NULL && history(past, &event, H_SAVE, path) < 0) {
        sc_cli_complain(cli, 0, "the history could not be written to %s: %s", path,
                        strerror(errno));
    }
    free(path);
}

int sc_cli_shell_run(struct sc_cli *cli, size_t argc, const char *const *argv)
{
    if (!take_options(cli, argc, argv)) {
        return SC_CLI_USAGE;
    }
    cli->shell = true;
    History *past = history_init();
    (void)setlocale(LC_CTYPE, ""); /* the editor reads characters, not bytes */
    EditLine *editor = el_init("shardcask", stdin, stdout, stderr);
    if (past != NULL && editor != NULL) {
        fprintf(cli->out, "Store at %s. `help` lists the commands, `exit` or Ctrl-D leaves.\n",
                sc_cli_url(cli));
        run_session(cli, editor, past);
    }
    if (editor != NULL) {
        el_end(editor);
    }
    if (past != NULL) {
        history_end(past);
    }
    cli->shell = false;
    if (past == NULL || editor == NULL) {
        return sc_cli_complain(cli, SC_CLI_ERROR, "the terminal cannot be used for editing");
    }
    return SC_CLI_DONE;
}
