/*
 * Splitting a line into words as a shell does: blanks separate, '...' takes everything literally,
 * "..." knows \" and \\, and a backslash outside quotes makes the next character plain. Nothing is
 * expanded. A # at the start of a word begins a comment.
 */
#ifndef SC_TOOLS_CLI_WORDS_H
#define SC_TOOLS_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

struct sc_cli_words {
    char **words; /* owned, each and the array */
    size_t count;
};

/* Returns NULL, or what is wrong with the line (a static sentence); then `words` is empty. */
const char *sc_cli_words_split(struct sc_cli_words *words, const char *line);

/* Frees the words; accepts a zeroed struct. */
void sc_cli_words_fini(struct sc_cli_words *words);

#endif
