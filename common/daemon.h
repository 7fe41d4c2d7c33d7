/*
 * What a daemon does around its work: signals, CPU binding, descriptor limits, numbers in flags.
 */
#ifndef SC_COMMON_DAEMON_H
#define SC_COMMON_DAEMON_H

#include "common/status.h"

#include <stdint.h>

/* Prepares the process: blocks the signals that ask it to stop, so that they reach only
 * sc_daemon_wait; ignores SIGPIPE, and SIGXFSZ so that a file size limit shows as an error of the
 * write; raises the soft limit of open files to the hard one. Call it before the first thread is
 * started and before the first call of nng, whose threads inherit the signal mask. */
void sc_daemon_init(void);

/* Binds the process, with the threads that it will start, to one CPU. Before the first thread. */
enum sc_status sc_daemon_bind_cpu(unsigned cpu, char *why);

/* Waits for SIGTERM, SIGINT or SIGHUP; returns its name. */
const char *sc_daemon_wait(void);

/* Reads an unsigned number of a flag: decimal, from `least` to `most`; with `size` a suffix K, M or
 * G (powers of 1,024) is taken. False for anything else. */
bool sc_daemon_number(const char *text, bool size, uint64_t least, uint64_t most, uint64_t *value);

#endif
