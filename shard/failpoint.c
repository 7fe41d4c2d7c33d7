#include "shard/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 64

/* `left` is 0 in production and the only thing looked at there. Set while no other thread works on
 * a store. */
static struct {
    atomic_long left;
    char name[NAME_SIZE];
} armed;

void sc_failpoint_init(void)
{
    const char *text = getenv("SHARDCASK_FAILPOINT");
    if (text == NULL || text[0] == '\0') {
        return;
    }
    const char *colon = strchr(text, ':');
    int size = colon != NULL ? (int)(colon - text) : (int)strlen(text);
    (void)snprintf(armed.name, sizeof armed.name, "%.*s", size, text);
    long count = colon != NULL ? strtol(colon + 1, NULL, 10) : 1;
    atomic_store(&armed.left, count > 0 ? count : 1);
}

void sc_failpoint(const char *name)
{
    if (atomic_load_explicit(&armed.left, memory_order_acquire) > 0 &&
        strcmp(name, armed.name) == 0 && atomic_fetch_sub(&armed.left, 1) == 1) {
        (void)kill(getpid(), SIGKILL);
    }
}
