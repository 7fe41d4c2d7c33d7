#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static char log_name[64] = "shardcask";
static enum sc_log_level log_level = SC_LOG_INFO;

void sc_log_init(const char *name, enum sc_log_level level)
{
    (void)snprintf(log_name, sizeof log_name, "%s", name);
    log_level = level;
}

int sc_log_level_parse(const char *text)
{
    for (int i = 0; i < (int)(sizeof level_names / sizeof *level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static size_t put_prefix(char *line, size_t size, enum sc_log_level level)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + used, size - used, ".%03dZ %-5s %s: ", (int)(now.tv_nsec / 1000000),
                        level_names[level], log_name);
    return used + (more > 0 ? (size_t)more : 0);
}

/* Text from outside may hold anything: it must neither end the line nor speak to the terminal. */
static void hide_controls(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < ' ' || byte == 0x7f) {
            text[i] = '?';
        }
    }
}

void sc_log(enum sc_log_level level, const char *format, ...)
{
    if (level > log_level) {
        return;
    }
    char line[LINE_MAX_BYTES];
    size_t used = put_prefix(line, sizeof line, level);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    if (more > 0) {
        size_t room = sizeof line - used - 2;
        size_t size = (size_t)more < room ? (size_t)more : room;
        hide_controls(line + used, size);
        used += size;
    }
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* nowhere left to report to */
}
