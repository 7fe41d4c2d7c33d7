/*
 * Logging to standard error: one line an event, `time level name: text`. The text says what, where
 * and what to do, with details as key=value. Values of the store are never logged; control
 * characters, a line feed among them, are written as "?". Any thread may log; a line is written
 * with one write(2), so lines do not mix.
 */
#ifndef SC_COMMON_LOG_H
#define SC_COMMON_LOG_H

enum sc_log_level { SC_LOG_ERROR, SC_LOG_WARN, SC_LOG_INFO, SC_LOG_DEBUG };

/* Sets the name in front of every line ("shard-2") and the least urgent level that is written.
 * Call it before starting threads. `name` is copied. */
void sc_log_init(const char *name, enum sc_log_level level);

/* Reads "error", "warn", "info" or "debug"; -1 for anything else. */
int sc_log_level_parse(const char *text);

void sc_log(enum sc_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define sc_log_error(...) sc_log(SC_LOG_ERROR, __VA_ARGS__)
#define sc_log_warn(...) sc_log(SC_LOG_WARN, __VA_ARGS__)
#define sc_log_info(...) sc_log(SC_LOG_INFO, __VA_ARGS__)
#define sc_log_debug(...) sc_log(SC_LOG_DEBUG, __VA_ARGS__)

#endif
