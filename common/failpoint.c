#include "common/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 64
#define POINTS_MAX 8

struct point {
    char name[NAME_SIZE];
    atomic_long left; /* passings until it fires; 0 or less: it has */
    enum sc_failpoint_action action;
};

/* `count` is 0 in production and the only thing looked at there. */
static struct {
    atomic_int count;
    struct point points[POINTS_MAX];
} armed;

static const char *const action_names[] = {
    [SC_FAILPOINT_KILL] = "kill", [SC_FAILPOINT_STOP] = "stop",     [SC_FAILPOINT_FAIL] = "fail",
    [SC_FAILPOINT_DROP] = "drop", [SC_FAILPOINT_REPEAT] = "repeat", [SC_FAILPOINT_LATE] = "late",
};

static enum sc_failpoint_action find_action(const char *text)
{
    for (int i = SC_FAILPOINT_KILL; i <= SC_FAILPOINT_LATE; i++) {
        if (strcmp(text, action_names[i]) == 0) {
            return (enum sc_failpoint_action)i;
        }
    }
    return SC_FAILPOINT_KILL;
}

/* Reads name[:count[:action]], which is taken apart in place. */
static void arm(struct point *point, char *text)
{
    char *rest = text;
    const char *name = strsep(&rest, ":");
    const char *count = strsep(&rest, ":");
    long number = count != NULL ? strtol(count, NULL, 10) : 1;
    (void)snprintf(point->name, sizeof point->name, "%s", name);
    point->action = rest != NULL ? find_action(rest) : SC_FAILPOINT_KILL;
    atomic_store(&point->left, number > 0 ? number : 1);
}

void sc_failpoint_init(void)
{
    const char *text = getenv("SHARDCASK_FAILPOINT");
    int count = 0;
    char copy[POINTS_MAX * NAME_SIZE];
    char *rest = copy;
    (void)snprintf(copy, sizeof copy, "%s", text != NULL ? text : "");
    for (char *next = strsep(&rest, ","); next != NULL && count < POINTS_MAX;
         next = strsep(&rest, ",")) {
        if (next[0] != '\0') {
            arm(&armed.points[count++], next);
        }
    }
    atomic_store(&armed.count, count);
}

enum sc_failpoint_action sc_failpoint_action(const char *name)
{
    int count = atomic_load_explicit(&armed.count, memory_order_acquire);
    enum sc_failpoint_action action = SC_FAILPOINT_NONE;
    for (int i = 0; i < count; i++) {
        struct point *point = &armed.points[i];
        if (strcmp(name, point->name) == 0 && atomic_fetch_sub(&point->left, 1) == 1) {
            action = point->action;
        }
    }
    if (action == SC_FAILPOINT_KILL || action == SC_FAILPOINT_STOP) {
        (void)kill(getpid(), action == SC_FAILPOINT_KILL ? SIGKILL : SIGSTOP);
        return SC_FAILPOINT_NONE;
    }
    return action;
}

void sc_failpoint(const char *name)
{
    (void)sc_failpoint_action(name);
}
