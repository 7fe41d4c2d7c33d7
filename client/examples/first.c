/*
 * The first program: put a value, get it back.
 *
 *     cc first.c -o first $(pkg-config --cflags --libs shardcask)
 *     ./first                          # asks tcp://127.0.0.1:7700, or $SHARDCASK_URL
 *     ./first tcp://example.org:7700
 */
#include <shardcask.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    /* One handle serves a whole program, all its threads too. NULL: the default address. */
    struct shardcask *db;
    char why[SHARDCASK_WHY_SIZE];
    if (shardcask_open(argc > 1 ? argv[1] : NULL, NULL, &db, why) != SHARDCASK_OK) {
        fprintf(stderr, "first: %s\n", why);
        return 1;
    }

    /* Every call returns SHARDCASK_OK (0) or says what went wrong; shardcask_error() explains. */
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    const void *text;
    size_t size;
    int failed = shardcask_put_str(db, "greeting", "hello, world", NULL, NULL) != SHARDCASK_OK ||
                 shardcask_get(db, "greeting", 8, &value) != SHARDCASK_OK ||
                 shardcask_value_get_bytes(&value, &text, &size) != SHARDCASK_OK;
    if (failed) {
        fprintf(stderr, "first: %s\n", shardcask_error());
    } else {
        printf("%.*s\n", (int)size, (const char *)text);
    }

    shardcask_value_free(&value);
    shardcask_close(db);
    return failed;
}
