#include "tools/cli_words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static void add_byte(struct sc_buf *word, char byte)
{
    sc_buf_append(word, &byte, 1);
}

/* Reads what stands between quotes; `at` is behind the opening one. Returns a pointer behind the
 * closing one, or NULL when there is none. */
static const char *read_quoted(const char *at, char quote, struct sc_buf *word)
{
    for (; *at != '\0'; at++) {
        if (*at == quote) {
            return at + 1;
        }
        if (quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\')) {
            at++;
        }
        add_byte(word, *at);
    }
    return NULL;
}

/* Reads one word; `at` is at its first character. Returns a pointer behind it, or NULL with *wrong
 * set. */
static const char *read_word(const char *at, struct sc_buf *word, const char **wrong)
{
    while (*at != '\0' && !isspace((unsigned char)*at)) {
        if (*at == '\'' || *at == '"') {
            char quote = *at;
            at = read_quoted(at + 1, quote, word);
            if (at == NULL) {
                *wrong = quote == '"' ? "a \" is not closed" : "a ' is not closed";
                return NULL;
            }
        } else if (*at == '\\') {
            if (at[1] == '\0') {
                *wrong = "a backslash at the end of the line";
                return NULL;
            }
            add_byte(word, at[1]);
            at += 2;
        } else {
            add_byte(word, *at++);
        }
    }
    return at;
}

const char *sc_cli_words_split(struct sc_cli_words *words, const char *line)
{
    *words = (struct sc_cli_words){0};
    const char *wrong = NULL;
    for (const char *at = line;;) {
        while (isspace((unsigned char)*at)) {
            at++;
        }
        if (*at == '\0' || *at == '#') {
            return NULL;
        }
        struct sc_buf word = {0};
        at = read_word(at, &word, &wrong);
        if (at == NULL) {
            sc_buf_fini(&word);
            sc_cli_words_fini(words);
            return wrong;
        }
        add_byte(&word, '\0');
        words->words = sc_realloc(words->words, (words->count + 1) * sizeof *words->words);
        words->words[words->count++] = (char *)word.data;
    }
}

void sc_cli_words_fini(struct sc_cli_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        free(words->words[i]);
    }
    free(words->words);
    *words = (struct sc_cli_words){0};
}
